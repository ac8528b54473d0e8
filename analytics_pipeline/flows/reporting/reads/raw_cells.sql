SELECT
    period,
    entity,
    figure,
    found,
    seconds,
    handed,
    of_merged
FROM (
    SELECT
        transform(
            roundDown(toUnixTimestamp64Micro(created_at), CAST({edges:String} AS Array(Int64))),
            CAST({edges:String} AS Array(Int64)), CAST({edge_periods:String} AS Array(Int32)), toInt32(-1)
        ) AS period,
        assumeNotNull(${COLUMN}) AS entity,
        toString(name) AS kind,
        toInt64(count()) AS found,
        sum(if(isFinite(${VALUE}), assumeNotNull(${VALUE}), 0)) AS seconds,
        ${CONVERSATIONS}
    FROM reporting_events
    WHERE account_id = {account:Int64} AND name IN {events:Array(String)}
        -- A day's partition is found by its date, not by the moments, which are those of many intervals.
        AND toDate(created_at) IN {utc_days:Array(Date)}
        AND created_at >= fromUnixTimestamp64Micro({since:Int64})
        AND created_at < fromUnixTimestamp64Micro({until:Int64})
        AND period >= 0 AND ${COLUMN} IS NOT NULL AND ${ONLY}
    GROUP BY period, entity, kind
)
ARRAY JOIN arrayFilter(
    (name, event) -> event = kind, {metrics:Array(String)}, {events:Array(String)}
) AS figure
