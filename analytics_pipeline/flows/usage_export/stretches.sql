-- sqlfluff:dialect:postgres
-- Acknowledged batches in stretches of so many records, the newest first. Of batches that went once more, because the
-- bookmark was moved back, the last one counts. Late batches are counted among the live ones that had passed their ids.
WITH sent AS (
    SELECT
        id,
        first_id,
        last_id,
        records,
        min(first_id) OVER (
            ORDER BY id DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS next_id
    FROM analytics_pipeline.export_deliveries
    WHERE sink = %(sink)s AND status = 'delivered' AND kind = 'live'
),

live AS (
    SELECT
        first_id,
        last_id,
        records,
        div(sum(records) OVER (ORDER BY id DESC) - records, %(most)s) AS number
    FROM sent
    WHERE next_id IS NULL OR last_id < next_id
),

stretch AS (
    SELECT
        number,
        min(first_id) AS first_id,
        max(last_id) AS last_id,
        sum(records) AS records
    FROM live
    GROUP BY number
)

SELECT
    stretch.first_id,
    stretch.last_id,
    (
        stretch.records + (
            SELECT coalesce(sum(late.records), 0)
            FROM analytics_pipeline.export_deliveries AS late
            WHERE
                late.sink = %(sink)s
                AND late.status = 'delivered'
                AND late.kind = 'late'
                AND late.first_id >= stretch.first_id
                AND late.last_id <= stretch.last_id
        )
    )::bigint AS records
FROM stretch
ORDER BY stretch.number ASC
