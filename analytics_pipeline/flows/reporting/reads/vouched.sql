-- sqlfluff:dialect:postgres
-- What the ledgers vouch for of one account's local days, and of the UTC days that they lie in, as one row. A day that
-- is being swapped is not vouched for: what it holds changes at any moment. An account may have been forgotten.
WITH rolled AS (
    -- A run is of neighbouring days whose bounds are as far from midnight in UTC.
    SELECT
        covered.date,
        coalesce(held.checksum, %(unknown)s)::bigint AS version
    FROM unnest(%(firsts)s::date[], %(lasts)s::date[], %(starts)s::int[], %(untils)s::int[])
    AS run (first, last, start, until)
    INNER JOIN analytics_pipeline.reporting_coverage AS covered
        ON
            covered.account_id = %(account)s
            AND covered.date BETWEEN run.first AND run.last
            AND covered.starts_at = covered.date::timestamp AT TIME ZONE 'UTC' + make_interval(secs => run.start)
            AND covered.ends_at = covered.date::timestamp AT TIME ZONE 'UTC' + make_interval(secs => run.until)
    INNER JOIN analytics_pipeline.held_days AS held
        ON held.relation = 'reporting_rollups' AND covered.date = held.day AND held.state = 'held'
    WHERE
        -- Said for the index: whatever the plan is made for, it reads this account's days of the span alone.
        covered.date BETWEEN %(first)s::date - 1 AND %(last)s::date + 1
        AND covered.timezone = any(%(zones)s)
        AND covered.registry_version = %(registry)s
        AND covered.source_swapped_at IS NOT DISTINCT FROM (
            SELECT max(copies.swapped_at) FROM analytics_pipeline.source_copies AS copies
            WHERE
                copies.source = %(source)s
                AND copies.day BETWEEN (covered.starts_at AT TIME ZONE 'UTC')::date
                AND ((covered.ends_at - interval '1 microsecond') AT TIME ZONE 'UTC')::date
        )
),

copy AS (
    SELECT
        copies.day,
        CASE WHEN held.state = 'held' THEN held.rows END AS rows,
        CASE
            WHEN
                copies.day <> all(%(lost)s::date[]) AND (
                    held.state = 'held' OR EXISTS (
                        SELECT FROM analytics_pipeline.vouched_days AS vouched
                        WHERE vouched.relation = copies.source AND vouched.day = copies.day
                    )
                )
                THEN copies.copied_at
        END AS copied_at
    FROM analytics_pipeline.source_copies AS copies
    LEFT JOIN analytics_pipeline.held_days AS held ON copies.source = held.relation AND copies.day = held.day
    WHERE copies.source = %(source)s AND copies.day BETWEEN %(first)s AND %(last)s
),

needed AS (
    SELECT
        day.utc::date AS day,
        copy.copied_at
    FROM generate_series(%(first)s::timestamp, %(last_begun)s::timestamp, interval '1 day') AS day (utc)
    LEFT JOIN copy ON day.utc::date = copy.day
)

SELECT
    (
        SELECT count(*) > 0 FROM analytics_pipeline.erasures AS gone
        WHERE gone.kind = 'account' AND gone.subject = (SELECT ${SUBJECT} FROM analytics_pipeline.erasure_key)
    ) AS is_forgotten,
    (SELECT array_agg(rolled.date ORDER BY rolled.date) FROM rolled) AS dates,
    (SELECT array_agg(rolled.version ORDER BY rolled.date) FROM rolled) AS versions,
    (
        SELECT array_agg(needed.day ORDER BY needed.day) FROM needed
        WHERE
            needed.copied_at IS NULL
            OR (
                needed.copied_at < (needed.day + 1)::timestamp AT TIME ZONE 'UTC'
                AND (needed.day + 1)::timestamp AT TIME ZONE 'UTC' <= %(now)s
            )
    ) AS lacking,
    (SELECT min(needed.copied_at) FROM needed) AS as_of,
    (
        SELECT array_agg(copy.day ORDER BY copy.day) FROM copy
        WHERE copy.rows IS NOT NULL
    ) AS held_days,
    (
        SELECT array_agg(copy.rows ORDER BY copy.day) FROM copy
        WHERE copy.rows IS NOT NULL
    ) AS held_rows
