-- sqlfluff:dialect:postgres
-- Records of the events with these ids, one JSON object a line. What is not allowed to leave does not leave Postgres.
WITH events AS (
    SELECT
        source.*,
        CASE
            WHEN source.timestamp >= '1900-01-01' AND source.timestamp < '2299-12-31' THEN NULL
            ELSE 'its timestamp is not in the years 1900 to 2299'
        END AS refusal
    FROM {event_logs} AS source
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
            ELSE {hashed_user} <> all(%(forgotten)s::bytea[])
        END
    ORDER BY source.id ASC
),

-- Member by member: row_to_json looks up the type of each column for every row, which takes half as long again.
lines AS (
    SELECT
        id,
        refusal,
        '{{"record_id":"' || (%(site_prefix)s || lpad(to_hex(id), 16, 'a000000000000000'))::uuid::text
        || '","event_log_id":' || id::text
        || ',"site_id":' || to_json(%(site_id)s::text)::text
        || ',"deploy_type":' || to_json(%(deploy_type)s::text)::text
        || ',"name":' || to_json(name)::text
        || ',"url":"","anonymous_user_id":' || to_json(coalesce(anonymous_user_id, ''))::text
        || ',"first_source_url":' || to_json(coalesce(first_source_url, ''))::text
        || ',"last_source_url":' || to_json(coalesce(last_source_url, ''))::text
        || ',"user_id":' || greatest(user_id, 0)::text
        || ',"source":' || to_json(coalesce(source, ''))::text
        || ',"timestamp":' || to_json(timestamp::timestamptz)::text
        || ',"version":' || to_json(coalesce(version, ''))::text
        || ',"feature_flags":' || to_json({allowed_feature_flags})::text
        || ',"cohort_id":' || coalesce(
            CASE WHEN cohort_id >= '1900-01-01' AND cohort_id < '2299-12-31' THEN to_json(cohort_id)::text END, 'null'
        )
        || ',"referrer":' || to_json(coalesce(referrer, ''))::text
        || ',"public_argument":' || to_json({allowed_public_argument})::text
        || ',"device_id":' || coalesce(to_json(device_id)::text, 'null')
        || ',"insert_id":' || coalesce(to_json(insert_id)::text, 'null')
        || E'}}\n' AS line
    FROM events
)

SELECT
    array_agg(id) FILTER (WHERE refusal IS NULL) AS ids,
    convert_to(string_agg(line, '') FILTER (WHERE refusal IS NULL), 'UTF8') AS lines,
    array_agg(id) FILTER (WHERE refusal IS NOT NULL) AS refused_ids,
    array_agg(refusal) FILTER (WHERE refusal IS NOT NULL) AS refusals
FROM lines
