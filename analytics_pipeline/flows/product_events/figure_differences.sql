SELECT
    date,
    organisation_id,
    sumForEach(shown) AS figures,
    sumForEach(counted) AS events
FROM (
    SELECT
        date,
        organisation_id,
        [${FIGURES}] AS shown,
        arrayMap(measure -> toFloat64(0), shown) AS counted
    FROM ${TABLE} FINAL
    WHERE date IN {days:Array(Date)}
    GROUP BY date, organisation_id
    UNION ALL
    SELECT
        toDate(timestamp) AS date,
        organisation_id,
        arrayMap(measure -> toFloat64(0), counted) AS shown,
        [${EVENTS}] AS counted
    FROM (
        SELECT * FROM analytics_events
        WHERE toDate(timestamp) IN {days:Array(Date)}
            AND toUnixTimestamp64Milli(received_at)
            <= arrayElement({until:Array(Int64)}, indexOf({days:Array(Date)}, toDate(timestamp)))
        ORDER BY received_at DESC
        LIMIT 1 BY organisation_id, event_type, service, timestamp, event_id
    )
    GROUP BY date, organisation_id
)
GROUP BY date, organisation_id
HAVING arrayExists(
    (one, other) -> abs(one - other) > 1e-6 * greatest(1, abs(other)), figures, events
)
ORDER BY date, organisation_id
LIMIT 1000
