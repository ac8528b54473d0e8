-- sqlfluff:dialect:postgres
-- Replaces the gaps in which something was found by what is left of them.
WITH hit AS (
    DELETE FROM analytics_pipeline.event_logs_gaps
    WHERE sink = %(sink)s AND int8range(first_id, last_id, '[]') && %(found)s::int8multirange
    RETURNING first_id, last_id
),

remaining AS (
    SELECT unnest(range_agg(int8range(first_id, last_id, '[]')) - %(found)s::int8multirange) AS gap
    FROM hit
)

INSERT INTO analytics_pipeline.event_logs_gaps (sink, first_id, last_id, open_until)
SELECT
    %(sink)s AS sink,
    lower(gap) AS first_id,
    upper(gap) - 1 AS last_id,
    %(open_until)s::xid8 AS open_until
FROM remaining
