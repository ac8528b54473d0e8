SELECT
    organisation_id,
    event_id,
    timestamp,
    received_at,
    event_type,
    name,
    service,
    user_id,
    hostname,
    environment,
    task_id,
    project_id,
    cocoon_id,
    integration_id,
    provider,
    success,
    duration_ms,
    duration_seconds,
    exit_code,
    endpoint,
    method,
    status_code,
    error_type,
    error_message,
    toJSONString(data) AS data_text
FROM analytics_events FINAL
WHERE toDate(timestamp) >= {first:Date} AND toDate(timestamp) < {end:Date} AND ${WANTED}
ORDER BY timestamp DESC, organisation_id DESC, event_id DESC
LIMIT {limit:UInt32}
SETTINGS do_not_merge_across_partitions_select_final = 1
