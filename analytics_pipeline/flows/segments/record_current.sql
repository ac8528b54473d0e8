-- sqlfluff:dialect:postgres
INSERT INTO analytics_pipeline.segment_membership_counts AS current (
    segment_id, environment_id, project_id, organisation_id, count, status, reason, snapshot_date, last_synced_at
)
SELECT
    found.segment_id,
    found.environment_id,
    %(project)s AS project_id,
    %(organisation)s AS organisation_id,
    found.count,
    found.status,
    found.reason,
    %(day)s AS snapshot_date,
    CASE WHEN found.count IS NOT NULL THEN %(computed_at)s::timestamptz END AS last_synced_at
FROM unnest(
    %(segments)s::bigint[], %(environments)s::bigint[], %(counts)s::bigint[], %(statuses)s::text[], %(reasons)s::text[]
) AS found (segment_id, environment_id, count, status, reason)
ON CONFLICT (segment_id, environment_id) DO UPDATE SET
    project_id = excluded.project_id,
    organisation_id = excluded.organisation_id,
    count = coalesce(excluded.count, current.count),
    status = excluded.status,
    reason = excluded.reason,
    snapshot_date = excluded.snapshot_date,
    last_synced_at = coalesce(excluded.last_synced_at, current.last_synced_at)
