SELECT
    organisation_id,
    service,
    endpoint,
    method,
    toDate(timestamp) AS date,
    count() AS request_count,
    countIf(status_code BETWEEN 400 AND 499) AS error_4xx_count,
    countIf(status_code >= 500) AS error_5xx_count,
    count(duration_ms) AS durations,
    sum(toFloat64(coalesce(duration_ms, 0))) AS duration_ms_sum,
    quantilesDDStateIf(0.01, 0.5, 0.95, 0.99)(assumeNotNull(duration_ms), duration_ms IS NOT NULL) AS duration_sketch
FROM ${EVENTS}
WHERE event_type = 'api_request'
GROUP BY organisation_id, service, endpoint, method, date
