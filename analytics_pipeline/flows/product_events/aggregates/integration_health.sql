SELECT
    organisation_id,
    provider,
    toDate(timestamp) AS date,
    countIf(event_type = 'integration_connected') AS connections,
    countIf(event_type = 'integration_disconnected') AS disconnections,
    countIf(event_type = 'integration_used') AS uses,
    countIf(event_type = 'integration_error') AS errors,
    uniqExactStateIf(assumeNotNull(user_id), user_id IS NOT NULL) AS users,
    uniqExactStateIf(
        assumeNotNull(integration_id), event_type = 'integration_connected' AND integration_id IS NOT NULL
    ) AS connected
FROM ${EVENTS}
WHERE event_type IN ('integration_connected', 'integration_disconnected', 'integration_used', 'integration_error')
GROUP BY organisation_id, provider, date
