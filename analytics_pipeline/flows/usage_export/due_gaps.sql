-- sqlfluff:dialect:postgres
-- Gaps whose turn it is: young ones, ones whose transactions have ended since, wide ones, and any when it is twice as
-- old as it was when it was looked at last.
SELECT coalesce(range_agg(int8range(first_id, last_id, '[]')), '{}'::int8multirange)::text
FROM (
    SELECT
        first_id,
        last_id
    FROM analytics_pipeline.event_logs_gaps
    WHERE
        sink = %(sink)s
        AND (
            passed_at > clock_timestamp() - %(young)s::interval
            OR (NOT is_settled AND open_until <= %(horizon)s::xid8)
            OR looked_at + (looked_at - passed_at) <= clock_timestamp()
            OR last_id - first_id >= %(wide)s
        )
    ORDER BY looked_at ASC
    LIMIT %(most)s
) AS due
