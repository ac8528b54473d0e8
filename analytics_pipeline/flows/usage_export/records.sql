-- sqlfluff:dialect:postgres
-- Records of the events with these ids, one JSON object a line. What is not allowed to leave does not leave Postgres.
WITH allowed_keys AS MATERIALIZED (
    SELECT
        name,
        array_agg(key) AS keys,
        bool_or(key = '*') AS is_every
    FROM unnest(%(rule_names)s::text[], %(rule_keys)s::text[]) AS rule (name, key)
    GROUP BY name
),

events AS (
    SELECT
        source.*,
        allowed_keys.keys,
        allowed_keys.is_every,
        CASE
            WHEN source.timestamp >= '1900-01-01' AND source.timestamp < '2299-12-31' THEN NULL
            ELSE 'its timestamp is not in the years 1900 to 2299'
        END AS refusal
    FROM {event_logs} AS source
    LEFT JOIN allowed_keys ON source.name = allowed_keys.name
    WHERE
        -- One by one: Postgres would expect many rows between the ends of ranges, and read them all.
        source.id = any(
            array(
                SELECT generate_series(lower(wanted), upper(wanted) - 1)
                FROM unnest(%(ids)s::int8multirange) AS wanted
            )
        )
        -- A name that was removed from the list meanwhile does not leave any more.
        AND source.name = any(%(names)s)
        -- Who was forgotten does not leave either; hashing costs where anybody was.
        AND CASE
            WHEN cardinality(%(forgotten)s::bytea[]) = 0 OR source.user_id IS NULL THEN true
            ELSE ${FORGOTTEN} <> all(%(forgotten)s::bytea[])
        END
    ORDER BY source.id ASC
),

lines AS (
    SELECT
        events.id,
        events.refusal,
        row_to_json(record)::text || E'\n' AS line
    FROM events
    CROSS JOIN LATERAL ( -- noqa: ST05
        SELECT
            (%(site_prefix)s || lpad(to_hex(events.id), 16, 'a000000000000000'))::uuid AS record_id,
            events.id AS event_log_id,
            %(site_id)s::text AS site_id,
            %(deploy_type)s::text AS deploy_type,
            events.name,
            ''::text AS url,
            coalesce(events.anonymous_user_id, '') AS anonymous_user_id,
            coalesce(events.first_source_url, '') AS first_source_url,
            coalesce(events.last_source_url, '') AS last_source_url,
            greatest(events.user_id, 0) AS user_id,
            coalesce(events.source, '') AS source,
            events.timestamp::timestamptz AS timestamp,
            coalesce(events.version, '') AS version,
            coalesce(${FEATURE_FLAGS}, '{{}}') AS feature_flags,
            CASE
                WHEN events.cohort_id >= '1900-01-01' AND events.cohort_id < '2299-12-31' THEN events.cohort_id
            END AS cohort_id,
            coalesce(events.referrer, '') AS referrer,
            coalesce(${PUBLIC_ARGUMENT}, '{{}}') AS public_argument,
            events.device_id,
            events.insert_id
    ) AS record
)

SELECT
    array_agg(id) FILTER (WHERE refusal IS NULL) AS ids,
    convert_to(string_agg(line, '') FILTER (WHERE refusal IS NULL), 'UTF8') AS lines,
    array_agg(id) FILTER (WHERE refusal IS NOT NULL) AS refused_ids,
    array_agg(refusal) FILTER (WHERE refusal IS NOT NULL) AS refusals
FROM lines
