-- sqlfluff:dialect:postgres
-- The counts of each project's newest snapshot. A project that was never counted has none: its first count is the
-- schedule's.
WITH snapshot AS (
    SELECT
        project_id,
        max(snapshot_date) AS day
    FROM analytics_pipeline.identity_loads
    WHERE captured_at IS NOT NULL
    GROUP BY project_id
)

SELECT
    snapshot.project_id,
    snapshot.day,
    refresh.fingerprint,
    refresh.completed_at < now() - %(patience)s::interval AS has_waited,
    refresh.status = 'completed' AS is_complete,
    refresh.counts,
    refresh.computed_at
FROM snapshot
INNER JOIN analytics_pipeline.segment_refreshes AS refresh
    ON snapshot.project_id = refresh.project_id AND snapshot.day = refresh.snapshot_date
WHERE
    refresh.completed_at IS NOT NULL
    -- A run under way is left to finish, and a project that fails is not tried again and again.
    AND (refresh.status = 'completed' OR refresh.started_at < now() - %(back_off)s::interval)
ORDER BY refresh.started_at ASC, snapshot.project_id ASC
