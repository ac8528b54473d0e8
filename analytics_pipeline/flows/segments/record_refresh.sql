-- sqlfluff:dialect:postgres
INSERT INTO analytics_pipeline.segment_refreshes AS ledger (
    project_id, snapshot_date, organisation_id, status, fingerprint, error, run_id, started_at, completed_at,
    counts, computed_at
)
VALUES (
    %(project)s, %(day)s, %(organisation)s, %(status)s, %(fingerprint)s, %(error)s, %(run_id)s, now(),
    CASE WHEN %(status)s = 'completed' THEN now() END, %(counts)s, %(computed_at)s
)
ON CONFLICT (project_id, snapshot_date) DO UPDATE SET
    organisation_id = excluded.organisation_id,
    status = excluded.status,
    fingerprint = CASE WHEN excluded.status = 'completed' THEN excluded.fingerprint ELSE ledger.fingerprint END,
    error = excluded.error,
    run_id = excluded.run_id,
    started_at = CASE WHEN excluded.status = 'running' THEN excluded.started_at ELSE ledger.started_at END,
    completed_at = coalesce(excluded.completed_at, ledger.completed_at),
    counts = excluded.counts,
    computed_at = excluded.computed_at
