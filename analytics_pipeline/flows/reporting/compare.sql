SELECT
    metric,
    dimension_type,
    count() AS cells,
    countIf(is_equal) AS equal_cells,
    countIf(NOT in_rollup) AS only_raw,
    countIf(NOT in_raw) AS only_rollup,
    max(abs(raw_count - rollup_count)) AS largest_count_delta,
    -- Not greatest() of the three: it takes NaN for the smaller one.
    max(greatest(seconds_delta, business_delta)) AS largest_average_delta,
    groupArrayIf(${EXAMPLES})(
        (
            account_id, dimension_id, in_raw, in_rollup,
            raw_count, raw_seconds, raw_business, rollup_count, rollup_seconds, rollup_business
        ),
        NOT is_equal
    ) AS examples,
    groupUniqArrayIf(${ACCOUNTS})(account_id, NOT is_equal) AS concerned
FROM (
    SELECT
        account_id,
        dimension_type,
        dimension_id,
        metric,
        countIf(is_raw) > 0 AS in_raw,
        countIf(NOT is_raw) > 0 AS in_rollup,
        sumIf(events, is_raw) AS raw_count,
        sumIf(seconds, is_raw) AS raw_seconds,
        sumIf(business_seconds, is_raw) AS raw_business,
        sumIf(events, NOT is_raw) AS rollup_count,
        sumIf(seconds, NOT is_raw) AS rollup_seconds,
        sumIf(business_seconds, NOT is_raw) AS rollup_business,
        abs(raw_seconds / greatest(raw_count, 1) - rollup_seconds / greatest(rollup_count, 1)) AS seconds_delta,
        abs(raw_business / greatest(raw_count, 1) - rollup_business / greatest(rollup_count, 1)) AS business_delta,
        in_raw AND in_rollup AND raw_count = rollup_count
            AND seconds_delta <= {tolerance:Float64} AND business_delta <= {tolerance:Float64} AS is_equal
    FROM (
        SELECT
            account_id,
            dimension_type,
            dimension_id,
            metric,
            false AS is_raw,
            count AS events,
            sum_value AS seconds,
            sum_value_business_hours AS business_seconds
        FROM reporting_rollups FINAL
        WHERE date BETWEEN {first:Date} AND {last:Date}
            AND (account_id, date) IN (SELECT (account_id, date) FROM ${BOUNDS})
        UNION ALL
        SELECT
            account_id,
            dimension_type,
            assumeNotNull(dimension_id) AS its_id,
            fed.2 AS metric,
            true AS is_raw,
            toInt64(if(has({distincts:Array(String)}, fed.2), conversations, row_count)) AS stored,
            if(has({durations:Array(String)}, fed.2), value, 0) AS seconds,
            if(has({durations:Array(String)}, fed.2), business_value, 0) AS business_seconds
        FROM (
            SELECT
                account_id,
                date,
                dimension.1 AS dimension_type,
                dimension.2 AS dimension_id,
                name,
                count() AS row_count,
                uniqExact(conversation_id) AS conversations,
                sumIf(value, isFinite(value)) AS value,
                sumIf(business_value, isFinite(business_value)) AS business_value
            FROM (
                SELECT
                    event.account_id AS account_id,
                    day.date AS date,
                    toString(event.name) AS name,
                    event.conversation_id AS conversation_id,
                    coalesce(event.value, 0) AS value,
                    coalesce(event.value_in_business_hours, 0) AS business_value,
                    arrayJoin([${DIMENSIONS}]) AS dimension
                FROM reporting_events AS event
                INNER JOIN ${BOUNDS} AS day
                    ON event.account_id = day.account_id
                        AND event.created_at >= day.starts_at AND event.created_at < day.ends_at
                WHERE event.created_at >= {starts_at:DateTime64(6, 'UTC')}
                    AND event.created_at < {ends_at:DateTime64(6, 'UTC')}
                    AND has({events:Array(String)}, event.name)
            )
            WHERE dimension_id IS NOT NULL
            GROUP BY account_id, date, dimension_type, dimension_id, name
        )
        ARRAY JOIN arrayFilter(
            fed -> fed.1 = name, arrayZip({events:Array(String)}, {metrics:Array(String)})
        ) AS fed
        WHERE stored > 0
    )
    GROUP BY account_id, dimension_type, dimension_id, metric
)
GROUP BY metric, dimension_type
ORDER BY metric, dimension_type
SETTINGS max_bytes_before_external_group_by = ${SPILL}
