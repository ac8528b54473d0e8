-- sqlfluff:dialect:postgres
INSERT INTO analytics_pipeline.identity_loads AS ledger (
    snapshot_date, environment_key, environment_id, project_id, organisation_id, status, captured_at, rows, error,
    run_id, started_at, completed_at
)
VALUES (
    %(day)s, %(key)s, %(environment_id)s, %(project_id)s, %(organisation_id)s, %(status)s, %(captured_at)s,
    %(rows)s, %(error)s, %(run_id)s, now(), CASE WHEN %(status)s = 'completed' THEN now() END
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
    completed_at = coalesce(excluded.completed_at, ledger.completed_at)
