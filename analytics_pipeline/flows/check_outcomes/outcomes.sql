-- sqlfluff:dialect:postgres
SELECT
    flow,
    asset,
    check_name,
    day,
    outcome,
    severity,
    compared,
    found,
    nullif(reason, '') AS reason,
    failing_since,
    checked_at,
    run_id
FROM analytics_pipeline.check_outcomes
WHERE
    flow = any(%(flows)s)
    AND (%(outcome)s::text IS NULL OR outcome = %(outcome)s)
    AND (asset, check_name, coalesce(day, '0001-01-01')) > (%(asset)s, %(name)s, %(day)s::date)
ORDER BY asset, check_name, coalesce(day, '0001-01-01')
LIMIT %(at_most)s
