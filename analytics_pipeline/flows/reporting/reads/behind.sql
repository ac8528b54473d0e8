SELECT
    id,
    toString(name) AS event_name,
    created_at,
    if(isFinite(value), value, NULL) AS seconds,
    if(isFinite(value_in_business_hours), value_in_business_hours, NULL) AS business_seconds,
    inbox_id,
    user_id,
    conversation_id
FROM (
    SELECT *
    FROM reporting_events
    WHERE
        account_id = {account:Int64} AND name = {event:String}
        AND created_at >= fromUnixTimestamp64Micro({since:Int64})
        AND created_at < fromUnixTimestamp64Micro({until:Int64})
        AND ${ONLY}
    ORDER BY created_at DESC, id DESC
    LIMIT 1 BY ${ONCE}
)
WHERE (toUnixTimestamp64Micro(created_at), id) < ({at:Int64}, {id:Int64})
ORDER BY created_at DESC, id DESC
LIMIT {limit:UInt32}
