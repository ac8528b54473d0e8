SELECT
    organisation_id,
    service,
    error_type,
    toDate(timestamp) AS date,
    count() AS error_count,
    argMin(error_message, (timestamp, event_id)) AS sample_error_message,
    min(timestamp) AS sampled_at,
    uniqExactStateIf(assumeNotNull(user_id), user_id IS NOT NULL) AS users
FROM ${EVENTS}
WHERE event_type = 'application_error'
GROUP BY organisation_id, service, error_type, date
