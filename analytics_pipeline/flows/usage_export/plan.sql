-- sqlfluff:dialect:postgres
-- The next batch: allowed events after an id, up to so many and so many bytes, each row of the log looked at once. What
-- is missing between the rows are ids that no committed event has: of open transactions, or of none at all.
WITH looked_at AS MATERIALIZED (
    SELECT
        event.id,
        event.name = any(%(names)s) AS is_allowed,
        CASE
            WHEN event.name = any(%(names)s)
                -- A large payload may be compressed; only then it is worth writing it out to know its size.
                THEN
                    1000
                    + coalesce(
                        CASE
                            WHEN pg_column_size(event.public_argument) < 2000
                                THEN 2 * pg_column_size(event.public_argument)
                            ELSE octet_length(event.public_argument::text)
                        END, 0
                    )
                    + coalesce(
                        CASE
                            WHEN pg_column_size(event.feature_flags) < 2000
                                THEN 2 * pg_column_size(event.feature_flags)
                            ELSE octet_length(event.feature_flags::text)
                        END, 0
                    )
            ELSE 0
        END AS bytes
    FROM {event_logs} AS event
    WHERE event.id > %(after)s AND event.id <= %(until)s
    ORDER BY event.id ASC
    LIMIT %(rows)s
),

counted AS (
    SELECT
        id,
        is_allowed,
        lag(id, 1, %(after)s::bigint) OVER by_id AS previous_id,
        count(*) FILTER (WHERE is_allowed) OVER by_id AS records,
        sum(bytes) OVER by_id - bytes AS bytes_before
    FROM looked_at
    WINDOW by_id AS (ORDER BY id ASC ROWS UNBOUNDED PRECEDING)
)

SELECT
    max(id) AS last_id,
    coalesce(range_agg(int8range(id, id, '[]')) FILTER (WHERE is_allowed), '{{}}'::int8multirange)::text AS ids,
    count(*) FILTER (WHERE is_allowed) AS records,
    coalesce(
        range_agg(int8range(previous_id + 1, id)) FILTER (WHERE id > previous_id + 1), '{{}}'::int8multirange
    )::text AS gaps,
    pg_snapshot_xmax(pg_current_snapshot())::text AS open_until,
    min(id) FILTER (WHERE is_allowed) AS first_record,
    max(id) FILTER (WHERE is_allowed) AS last_record
FROM counted
WHERE records <= %(records)s AND bytes_before < %(bytes)s
