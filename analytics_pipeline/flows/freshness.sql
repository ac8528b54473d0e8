-- sqlfluff:dialect:postgres
-- Each relation of ClickHouse by what our ledgers say of its days. A day that is being swapped counts as held.
-- Days between two others are missing, but for those of product events: a day without events needs no figures.
WITH day_ledger AS (
    SELECT
        'identities' AS flow,
        'identities' AS relation,
        snapshot_date AS day,
        bool_and(captured_at IS NOT NULL) AS is_held,
        false AS is_lost,
        sum(rows) AS rows,
        max(completed_at) AS updated_at
    FROM analytics_pipeline.identity_loads
    GROUP BY snapshot_date
    UNION ALL
    SELECT
        'segments' AS flow,
        'segment_counts' AS relation,
        snapshot_date AS day,
        bool_and(completed_at IS NOT NULL AND status = 'completed') AS is_held,
        false AS is_lost,
        sum(counts) AS rows,
        max(completed_at) AS updated_at
    FROM analytics_pipeline.segment_refreshes
    GROUP BY snapshot_date
    UNION ALL
    SELECT
        flows.flow,
        flows.relation,
        held.day,
        held.state <> 'lost' AS is_held,
        held.state = 'lost' AS is_lost,
        held.rows,
        held.swapped_at AS updated_at
    FROM unnest(%(flows)s::text[], %(relations)s::text[]) AS flows (flow, relation)
    INNER JOIN analytics_pipeline.held_days AS held ON flows.relation = held.relation
)

SELECT
    flow,
    relation,
    min(day) FILTER (WHERE is_held) AS first_day,
    max(day) FILTER (WHERE is_held) AS last_day,
    count(*) FILTER (WHERE is_held) AS held_days,
    count(*) FILTER (WHERE is_lost) AS lost_days,
    CASE
        WHEN flow = 'product_events' THEN count(*) FILTER (WHERE NOT is_held)
        ELSE greatest(
            least(max(day), (now() AT TIME ZONE 'UTC')::date) - min(day) + 1
            - count(*) FILTER (WHERE day <= (now() AT TIME ZONE 'UTC')::date AND is_held), 0
        )
    END::bigint AS missing_days,
    sum(rows) FILTER (WHERE is_held)::bigint AS rows,
    max(updated_at) AS updated_at
FROM day_ledger
GROUP BY flow, relation
ORDER BY flow, relation
