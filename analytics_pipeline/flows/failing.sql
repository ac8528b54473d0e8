-- sqlfluff:dialect:postgres
-- Everything that our ledgers know to have failed and that nothing has repaired since.
SELECT
    'identities' AS flow,
    'environment:' || environment_id AS unit,
    snapshot_date::text AS what,
    coalesce(completed_at, started_at) AS since,
    error AS reason
FROM analytics_pipeline.identity_loads
WHERE status = 'failed' AND snapshot_date > (now() AT TIME ZONE 'UTC')::date - 7
UNION ALL
SELECT
    'segments' AS flow,
    'project:' || project_id AS unit,
    snapshot_date::text AS what,
    started_at AS since,
    error AS reason
FROM analytics_pipeline.segment_refreshes
WHERE status = 'failed' AND snapshot_date > (now() AT TIME ZONE 'UTC')::date - 7
UNION ALL
SELECT
    feature AS flow,
    scope AS unit,
    'history, epoch ' || epoch AS what,
    coalesce(heartbeat_at, requested_at) AS since,
    error AS reason
FROM analytics_pipeline.enablements
WHERE state = 'failed' AND closed_at IS NULL
UNION ALL
SELECT
    'usage_export' AS flow,
    'sink:' || sink AS unit,
    consecutive_failures || ' failures in a row' AS what,
    last_error_at AS since,
    last_error AS reason
FROM analytics_pipeline.event_logs_scrape_state
WHERE consecutive_failures > 0
UNION ALL
SELECT
    flows.flow,
    flows.relation AS unit,
    count(*) || ' days lost' AS what,
    max(held.swapped_at) AS since,
    'ClickHouse does not hold them as they were recorded; the schedule brings them in again' AS reason
FROM unnest(%(flows)s::text[], %(relations)s::text[]) AS flows (flow, relation)
INNER JOIN analytics_pipeline.held_days AS held ON flows.relation = held.relation
WHERE held.state = 'lost'
GROUP BY flows.flow, flows.relation
ORDER BY flow, unit, what
