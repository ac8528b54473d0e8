SELECT
    toInt64(countIf(isFinite(${VALUE}) AND ${VALUE} <= {target:Float64})) AS within,
    toInt64(countIf(isFinite(${VALUE}))) AS total,
    toInt64(count()) - total AS without_value
FROM reporting_events
WHERE
    account_id = {account:Int64} AND name = {event:String}
    AND created_at >= fromUnixTimestamp64Micro({since:Int64})
    AND created_at < fromUnixTimestamp64Micro({until:Int64})
    AND ${ONLY}
