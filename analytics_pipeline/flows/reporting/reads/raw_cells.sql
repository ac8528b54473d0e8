SELECT
    ${PART} AS part,
    ${PERIOD} AS period,
    assumeNotNull(${COLUMN}) AS entity,
    ${FIGURE} AS figure,
    toInt64(count()) AS found,
    sum(if(isFinite(${VALUE}), assumeNotNull(${VALUE}), 0)) AS seconds,
    ${CONVERSATIONS}
FROM reporting_events
WHERE account_id = {account:Int64} AND name IN {events:Array(String)}
    AND created_at >= fromUnixTimestamp64Micro({since:Int64})
    AND created_at < fromUnixTimestamp64Micro({until:Int64})
    AND ${MOMENTS} AND ${COLUMN} IS NOT NULL AND ${ONLY}
GROUP BY period, entity, figure
