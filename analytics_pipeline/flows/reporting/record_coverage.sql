-- sqlfluff:dialect:postgres
INSERT INTO analytics_pipeline.reporting_coverage AS covered (
    account_id, date, timezone, starts_at, ends_at, registry_version, complete, source_swapped_at, computed_at,
    run_id
)
SELECT
    account.id,
    day.date,
    account.timezone,
    day.starts_at,
    day.ends_at,
    %(registry)s AS registry_version,
    day.complete,
    day.source_swapped_at,
    now() AS computed_at,
    %(run_id)s AS run_id
FROM unnest(%(account)s::bigint[], %(timezone)s::text[], %(zone_of_account)s::int[])
AS account (id, timezone, zone)
INNER JOIN unnest(
    %(zone)s::int[], %(date)s::date[], %(starts_at)s::timestamptz[], %(ends_at)s::timestamptz[],
    %(complete)s::boolean[], %(source_swapped_at)s::timestamptz[]
) AS day (zone, date, starts_at, ends_at, complete, source_swapped_at)
    ON account.zone = day.zone
ON CONFLICT (date, account_id) DO UPDATE SET
    timezone = excluded.timezone,
    starts_at = excluded.starts_at,
    ends_at = excluded.ends_at,
    registry_version = excluded.registry_version,
    complete = excluded.complete,
    source_swapped_at = excluded.source_swapped_at,
    computed_at = excluded.computed_at,
    run_id = excluded.run_id
