-- One statement for both features: it makes one part of a month, which a read need not make final.
INSERT INTO ${STAGING} (
    date, feature, event, user_id, namespace_path, language, occurrences, suggestion_size_sum, last_at,
    computed_at
)
SELECT
    toDate(timestamp) AS date,
    'chat' AS its_feature,
    transform(event, {chat_ids:Array(UInt16)}, {chat_names:Array(String)}, '') AS its_event,
    user_id,
    namespace_path,
    '' AS its_language,
    count() AS its_occurrences,
    toUInt64(0) AS its_sizes,
    max(timestamp) AS its_last,
    {computed_at:DateTime64(3, 'UTC')} AS its_version
FROM ${CHAT} FINAL
WHERE toDate(timestamp) BETWEEN {first:Date} AND {last:Date}
GROUP BY date, its_event, user_id, namespace_path
UNION ALL
SELECT
    toDate(timestamp) AS date,
    'code_suggestions' AS its_feature,
    transform(event, {code_ids:Array(UInt16)}, {code_names:Array(String)}, '') AS its_event,
    user_id,
    namespace_path,
    language AS its_language,
    count() AS its_occurrences,
    sum(suggestion_size) AS its_sizes,
    max(timestamp) AS its_last,
    {computed_at:DateTime64(3, 'UTC')} AS its_version
FROM ${CODE} FINAL
WHERE toDate(timestamp) BETWEEN {first:Date} AND {last:Date}
GROUP BY date, its_event, user_id, namespace_path, its_language
SETTINGS max_bytes_before_external_group_by = ${SPILL}
