SELECT
    date,
    organisation_id,
    sumForEachIf(measures, is_figure) AS figures,
    sumForEachIf(measures, NOT is_figure) AS events
FROM (
    SELECT
        date,
        organisation_id,
        [${FIGURES}] AS measures,
        true AS is_figure
    FROM ${TABLE} FINAL
    WHERE date IN {days:Array(Date)}
    GROUP BY date, organisation_id
    UNION ALL
    SELECT
        toDate(timestamp) AS date,
        organisation_id,
        [${EVENTS}] AS measures,
        false AS is_figure
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
    (shown, counted) -> abs(shown - counted) > 1e-6 * greatest(1, abs(counted)), figures, events
)
ORDER BY date, organisation_id
LIMIT 1000
