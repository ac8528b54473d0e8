SELECT
    organisation_id,
    toDate(timestamp) AS date,
    countIf(event_type = 'task_created') AS created,
    countIf(event_type = 'task_started') AS started,
    countIf(event_type = 'task_completed') AS completed,
    countIf(event_type = 'task_failed') AS failed,
    countIf(event_type = 'task_cancelled') AS cancelled,
    countIf(event_type = 'task_completed' AND duration_ms IS NOT NULL) AS durations,
    sumIf(toFloat64(coalesce(duration_ms, 0)), event_type = 'task_completed') AS duration_ms_sum,
    quantilesDDStateIf(0.01, 0.5, 0.95, 0.99)(
        assumeNotNull(duration_ms), event_type = 'task_completed' AND duration_ms IS NOT NULL
    ) AS duration_sketch
FROM ${EVENTS}
WHERE event_type IN ('task_created', 'task_started', 'task_completed', 'task_failed', 'task_cancelled')
GROUP BY organisation_id, date
