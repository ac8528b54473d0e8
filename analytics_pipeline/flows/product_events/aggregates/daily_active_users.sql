SELECT
    organisation_id,
    toDate(timestamp) AS date,
    count() AS total_events,
    uniqExactState(assumeNotNull(user_id)) AS users
FROM ${EVENTS}
WHERE user_id IS NOT NULL
GROUP BY organisation_id, date
