SELECT
    organisation_id,
    toDate(timestamp) AS date,
    countIf(event_type = 'cocoon_registered') AS registrations,
    countIf(event_type = 'cocoon_connected') AS connections,
    countIf(event_type = 'cocoon_disconnected') AS disconnections,
    countIf(event_type = 'cocoon_claimed') AS claims,
    countIf(event_type = 'cocoon_disconnected' AND duration_seconds IS NOT NULL) AS sessions,
    sumIf(toFloat64(coalesce(duration_seconds, 0)), event_type = 'cocoon_disconnected') AS session_seconds_sum,
    uniqExactStateIf(assumeNotNull(cocoon_id), cocoon_id IS NOT NULL) AS cocoons,
    uniqExactStateIf(
        assumeNotNull(cocoon_id), event_type IN ('cocoon_registered', 'cocoon_connected') AND cocoon_id IS NOT NULL
    ) AS known
FROM ${EVENTS}
WHERE event_type IN ('cocoon_registered', 'cocoon_connected', 'cocoon_disconnected', 'cocoon_claimed')
GROUP BY organisation_id, date
