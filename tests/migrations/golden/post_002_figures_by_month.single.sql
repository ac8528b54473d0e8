-- The newest answer of this month or the last for each segment and environment: what dashboards read. Older ones are in
-- segment_counts; bounded, the view costs the same after ten years.
CREATE OR REPLACE VIEW segment_counts_latest  AS
SELECT
    date,
    organisation_id,
    project_id,
    segment_id,
    environment_id,
    environment_key,
    count,
    status,
    reason,
    computed_at
FROM segment_counts FINAL
WHERE date >= toStartOfMonth(today() - INTERVAL 1 MONTH)
ORDER BY project_id ASC, segment_id ASC, environment_id ASC, date DESC
LIMIT 1 BY project_id, segment_id, environment_id;
