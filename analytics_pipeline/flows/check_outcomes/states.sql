-- sqlfluff:dialect:postgres
-- Each check over all its days: it fails while one of them does; otherwise it is as its latest look was.
WITH looks AS (
    SELECT
        flow,
        asset,
        check_name,
        outcome,
        severity,
        compared,
        found,
        reason,
        checked_at,
        run_id,
        row_number() OVER (PARTITION BY asset, check_name ORDER BY checked_at DESC, day DESC) AS age
    FROM analytics_pipeline.check_outcomes
    WHERE flow = any(%(flows)s)
),

failing AS (
    SELECT
        asset,
        check_name,
        count(day) AS days,
        min(day) AS first_day,
        max(day) AS last_day,
        min(failing_since) AS since
    FROM analytics_pipeline.check_outcomes
    WHERE flow = any(%(flows)s) AND outcome = 'failed'
    GROUP BY asset, check_name
)

SELECT
    latest.flow,
    latest.asset,
    latest.check_name,
    CASE WHEN failing.since IS NULL THEN latest.outcome ELSE 'failed' END AS outcome,
    latest.severity,
    coalesce(failing.days, 0) AS failing_days,
    failing.first_day,
    failing.last_day,
    failing.since,
    latest.compared,
    latest.found,
    nullif(latest.reason, '') AS reason,
    latest.checked_at,
    latest.run_id
FROM looks AS latest
LEFT JOIN failing ON latest.asset = failing.asset AND latest.check_name = failing.check_name
WHERE latest.age = 1
ORDER BY latest.asset, latest.check_name
