SELECT
    organisation_id,
    event_type,
    name,
    service,
    toDate(timestamp) AS date,
    count() AS events,
    max(timestamp) AS last_at
FROM ${EVENTS}
GROUP BY organisation_id, event_type, name, service, date
