-- sqlfluff:dialect:postgres
-- A digest of everything in our ledgers that an account's figures of closed days are made of.
SELECT
    md5(
        concat_ws(
            '|',
            (
                SELECT
                    string_agg(
                        concat_ws(':', date, timezone, registry_version, complete, computed_at), ',' ORDER BY date
                    )
                FROM analytics_pipeline.reporting_coverage
                WHERE account_id = %(account)s AND date BETWEEN %(first)s AND %(last)s
            ),
            (
                SELECT
                    string_agg(
                        concat_ws(':', relation, day, state, rows, checksum, swapped_at), ',' ORDER BY relation, day
                    )
                FROM analytics_pipeline.held_days
                WHERE relation IN ('reporting_events', 'reporting_rollups') AND day BETWEEN %(first)s AND %(last)s
            ),
            (
                SELECT string_agg(concat_ws(':', day, copied_at), ',' ORDER BY day)
                FROM analytics_pipeline.source_copies
                WHERE source = 'reporting_events' AND day BETWEEN %(first)s AND %(last)s
            )
        )
    ) AS version
