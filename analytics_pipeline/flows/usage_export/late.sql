-- sqlfluff:dialect:postgres
-- Events whose ids nobody had when they were passed.
WITH found AS MATERIALIZED (
    SELECT
        source.id,
        source.name = any(%(names)s) AS is_allowed
    FROM unnest(%(gaps)s::int8multirange) AS gap
    -- With an order and a limit of its own each gap is looked at through the index.
    CROSS JOIN LATERAL ( -- noqa: ST05
        SELECT
            event.id,
            event.name
        FROM {event_logs} AS event
        WHERE event.id >= lower(gap) AND event.id < upper(gap) -- noqa: RF03
        ORDER BY event.id ASC
        LIMIT %(rows)s
    ) AS source
    ORDER BY source.id ASC
    LIMIT %(rows)s
)

SELECT
    coalesce(range_agg(int8range(id, id, '[]')), '{{}}'::int8multirange)::text AS found,
    (
        %(gaps)s::int8multirange - coalesce(range_agg(int8range(id, id, '[]')), '{{}}'::int8multirange)
    )::text AS remaining,
    count(*) AS found_count,
    coalesce(range_agg(int8range(id, id, '[]')) FILTER (WHERE is_allowed), '{{}}'::int8multirange)::text AS ids,
    count(*) FILTER (WHERE is_allowed) AS records,
    pg_snapshot_xmax(pg_current_snapshot())::text AS open_until,
    min(id) FILTER (WHERE is_allowed) AS first_record,
    max(id) FILTER (WHERE is_allowed) AS last_record
FROM found
