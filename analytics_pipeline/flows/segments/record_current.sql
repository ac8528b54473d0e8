-- sqlfluff:dialect:postgres
INSERT INTO analytics_pipeline.segment_membership_counts AS current (
    segment_id, environment_id, project_id, organisation_id, count, status, reason, snapshot_date, last_synced_at
)
VALUES (
    %(segment)s, %(environment)s, %(project)s, %(organisation)s, %(count)s, %(status)s, %(reason)s, %(day)s,
    %(synced_at)s
)
ON CONFLICT (segment_id, environment_id) DO UPDATE SET
    project_id = excluded.project_id,
    organisation_id = excluded.organisation_id,
    count = coalesce(excluded.count, current.count),
    status = excluded.status,
    reason = excluded.reason,
    snapshot_date = excluded.snapshot_date,
    last_synced_at = coalesce(excluded.last_synced_at, current.last_synced_at)
