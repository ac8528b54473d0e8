SELECT
    account_id,
    date,
    dimension_type,
    assumeNotNull(id) AS dimension_id,
    entry.1 AS metric,
    toInt64(if(entry.2 = 'distinct_conversations', bitmapCardinality(handed), events)) AS count,
    if(entry.2 = 'duration', seconds, 0) AS sum_value,
    if(entry.2 = 'duration', business_seconds, 0) AS sum_value_business_hours,
    handed AS conversations,
    timezone,
    {computed_at:DateTime64(3, 'UTC')} AS computed_at
FROM (
    SELECT
        ${KEYS},
        multiIf(${TYPES}, '${WHOLE}') AS dimension_type,
        multiIf(${IDS}, account_id) AS id,
        count() AS events,
        groupBitmapStateIf(
            reinterpretAsUInt64(assumeNotNull(conversation_id)),
            conversation_id IS NOT NULL AND has({distinct_events:Array(String)}, name)
        ) AS handed,
        sum(if(isFinite(value), value, 0)) AS seconds,
        sum(if(isFinite(value_in_business_hours), value_in_business_hours, 0)) AS business_seconds
    FROM (
        SELECT
            event.account_id AS account_id,
            day.date AS date,
            day.timezone AS timezone,
            toString(event.name) AS name,
            event.conversation_id AS conversation_id,
            coalesce(event.value, 0) AS value,
            coalesce(event.value_in_business_hours, 0) AS value_in_business_hours,
            ${COLUMNS}
        FROM reporting_events AS event
        ASOF JOIN ${BOUNDS} AS day
            ON event.account_id = day.account_id AND event.created_at >= day.starts_at
        WHERE event.created_at >= {starts_at:DateTime64(6, 'UTC')}
            AND event.created_at < {ends_at:DateTime64(6, 'UTC')}
            AND event.created_at < day.ends_at
            AND has({events:Array(String)}, event.name)
    )
    GROUP BY GROUPING SETS (${SETS})
    HAVING id IS NOT NULL
)
ARRAY JOIN arrayFilter(
    (entry, event) -> event = name,
    arrayZip({metrics:Array(String)}, {payloads:Array(String)}), {events:Array(String)}
) AS entry
WHERE count > 0
