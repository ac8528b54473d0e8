SELECT
    timestamp,
    feature,
    id,
    event,
    user_id,
    namespace_path,
    language,
    suggestion_size,
    branch_name,
    unique_tracking_id
FROM (
    SELECT
        timestamp,
        'chat' AS feature,
        id,
        event,
        user_id,
        namespace_path,
        '' AS language,
        toUInt64(0) AS suggestion_size,
        '' AS branch_name,
        '' AS unique_tracking_id
    FROM duo_chat_events FINAL
    UNION ALL
    SELECT
        timestamp,
        'code_suggestions' AS feature,
        id,
        event,
        user_id,
        namespace_path,
        toString(language) AS language,
        suggestion_size,
        branch_name,
        unique_tracking_id
    FROM code_suggestion_events FINAL
)
WHERE
    toDate(timestamp) BETWEEN {first:Date} AND {last:Date}
    AND startsWith(namespace_path, {prefix:String})
    AND (empty({languages:Array(String)}) OR has({languages:Array(String)}, language))
    AND (feature, event) IN {kinds:Array(Tuple(String, UInt16))}
    AND (empty({users:Array(UInt64)}) OR has({users:Array(UInt64)}, user_id))
    AND suggestion_size BETWEEN {smallest:UInt64} AND {largest:UInt64}
    AND ({branch:String} = '' OR branch_name = {branch:String})
    AND ({tracking:String} = '' OR unique_tracking_id = {tracking:String})
    AND (timestamp, feature, toInt64(id)) < ({at:DateTime64(3, 'UTC')}, {feature:String}, {id:Int64})
ORDER BY timestamp DESC, feature DESC, id DESC
LIMIT {limit:UInt32}
