-- sqlfluff:dialect:postgres
-- What a look at some days came to; what a later look came to stays.
INSERT INTO analytics_pipeline.check_outcomes AS kept (
    flow, asset, check_name, day, outcome, severity, compared, found, reason, failing_since, checked_at, run_id
)
SELECT
    %(flow)s,
    %(asset)s,
    %(name)s,
    looked.day,
    looked.outcome,
    %(severity)s,
    looked.compared,
    looked.found,
    looked.reason,
    CASE WHEN looked.outcome = 'failed' THEN %(began)s::timestamptz END AS failing_since,
    %(began)s,
    %(run_id)s
FROM unnest(
    %(days)s::date[], %(outcomes)s::text[], %(compared)s::bigint[], %(found)s::bigint[], %(reasons)s::text[]
) AS looked (day, outcome, compared, found, reason)
ON CONFLICT (asset, check_name, coalesce(day, '-infinity'::date)) DO UPDATE SET
    flow = excluded.flow,
    outcome = excluded.outcome,
    severity = excluded.severity,
    compared = excluded.compared,
    found = excluded.found,
    reason = excluded.reason,
    failing_since = CASE WHEN excluded.outcome = 'failed' THEN coalesce(kept.failing_since, excluded.failing_since) END,
    checked_at = excluded.checked_at,
    run_id = excluded.run_id
WHERE kept.checked_at <= excluded.checked_at AND NOT (kept.outcome = 'failed' AND %(keep_failures)s)
