INSERT INTO ${STAGING} (
    date, feature, event, user_id, namespace_path, language, occurrences, suggestion_size_sum, last_at,
    computed_at
)
SELECT
    toDate(timestamp) AS date,
    {feature:String} AS its_feature,
    transform(event, {ids:Array(UInt16)}, {names:Array(String)}, '') AS its_event,
    user_id,
    namespace_path,
    ${LANGUAGE} AS its_language,
    count() AS its_occurrences,
    sum(${SIZE}) AS its_sizes,
    max(timestamp) AS its_last,
    {computed_at:DateTime64(3, 'UTC')} AS its_version
FROM ${TABLE} FINAL
WHERE toDate(timestamp) BETWEEN {first:Date} AND {last:Date}
GROUP BY date, its_event, user_id, namespace_path, its_language
SETTINGS max_bytes_before_external_group_by = ${SPILL}
