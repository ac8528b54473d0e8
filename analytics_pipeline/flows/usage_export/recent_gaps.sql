-- sqlfluff:dialect:postgres
-- The ids that are missing between the newest events: those of open transactions are among them.
WITH newest AS MATERIALIZED (
    SELECT id FROM {event_logs}
    WHERE id <= %(before)s
    ORDER BY id DESC
    LIMIT 100000
),

neighbours AS (
    SELECT
        id,
        lag(id) OVER (ORDER BY id) AS previous_id
    FROM newest
)

SELECT coalesce(range_agg(int8range(previous_id + 1, id)), '{{}}'::int8multirange)::text
FROM neighbours
WHERE id > previous_id + 1
