INSERT INTO analytics_pipeline.identity_loads AS ledger (
    snapshot_date, environment_key, environment_id, project_id, organisation_id, status, captured_at, rows, error,
    run_id, started_at, completed_at
)
VALUES (
    '2026-11-27', 'env-key-100', 100, 10, 1, 'completed', '2026-11-27 18:00:00+00', 2, '', 'old', now(),
    CASE WHEN 'completed' = 'completed' THEN now() END
)
ON CONFLICT (snapshot_date, environment_key) DO UPDATE SET
    environment_id = excluded.environment_id,
    project_id = excluded.project_id,
    organisation_id = excluded.organisation_id,
    status = excluded.status,
    captured_at = coalesce(excluded.captured_at, ledger.captured_at),
    rows = coalesce(excluded.rows, ledger.rows),
    error = excluded.error,
    run_id = excluded.run_id,
    started_at = CASE WHEN excluded.status = 'running' THEN excluded.started_at ELSE ledger.started_at END,
    completed_at = coalesce(excluded.completed_at, ledger.completed_at);

DELETE FROM analytics_pipeline.dead_letters
WHERE flow = 'identities' AND unit = 'identities/2026-11-27/env-key-100';

INSERT INTO analytics_pipeline.dead_letters (flow, unit, record_key, reason, payload, run_id)
VALUES ('identities', 'identities/2026-11-27/env-key-100', 'key', 'the document has no identifier', '{}', 'old');

SELECT pg_advisory_xact_lock(hashtextextended('segment_counts:10', 0));

SELECT max(snapshot_date) FROM analytics_pipeline.segment_membership_counts WHERE project_id = 10;

DELETE FROM analytics_pipeline.segment_membership_counts
WHERE
    project_id = 10 AND (segment_id, environment_id) NOT IN (
        SELECT * FROM unnest('{1,1,2}'::bigint[], '{100,101,100}'::bigint[])
    );

INSERT INTO analytics_pipeline.segment_membership_counts AS current (
    segment_id, environment_id, project_id, organisation_id, count, status, reason, snapshot_date, last_synced_at
)
VALUES
(1, 100, 10, 1, 1, 'counted', '', '2026-11-27', '2026-11-27 18:00:01+00'),
(1, 101, 10, 1, 1, 'counted', '', '2026-11-27', '2026-11-27 18:00:01+00'),
(2, 100, 10, 1, NULL, 'failed', 'its rules are malformed', '2026-11-27', NULL)
ON CONFLICT (segment_id, environment_id) DO UPDATE SET
    project_id = excluded.project_id,
    organisation_id = excluded.organisation_id,
    count = coalesce(excluded.count, current.count),
    status = excluded.status,
    reason = excluded.reason,
    snapshot_date = excluded.snapshot_date,
    last_synced_at = coalesce(excluded.last_synced_at, current.last_synced_at);
