-- Errors of services by type and day, from which ranges of days are merged: of the hours there are 24 times as many.
-- Few rows share a granule, because each has a state: who reads those of one organisation reads few others.
CREATE TABLE IF NOT EXISTS analytics_errors_daily  -- noqa: PRS
(
    organisation_id      UInt64 COMMENT 'whose events these are',
    service              LowCardinality(String) COMMENT 'the service that failed',
    error_type           LowCardinality(String) COMMENT 'as the service says',
    date                 Date COMMENT 'UTC day',
    error_count          UInt64 COMMENT 'application_error events',
    affected_users       UInt64 COMMENT 'distinct users of these',
    sample_error_message String COMMENT 'message of the first of them',
    sampled_at           DateTime64(3, 'UTC') COMMENT 'when that was',
    users                AggregateFunction(uniqExact, UUID) COMMENT 'state of the distinct users',
    computed_at          DateTime64(3, 'UTC') COMMENT 'version: when the day was computed',
    is_deleted           UInt8 DEFAULT 0 COMMENT '1: tombstone of a figure that has gone',
    PROJECTION versions (SELECT date, max(computed_at) GROUP BY date)
)
ENGINE = ReplacingMergeTree(computed_at, is_deleted)
PARTITION BY toYYYYMM(date)
ORDER BY (organisation_id, service, error_type, date)
SETTINGS index_granularity = 256, min_age_to_force_merge_seconds = 60, min_age_to_force_merge_on_partition_only = 1,
    deduplicate_merge_projection_mode = 'rebuild', lightweight_mutation_projection_mode = 'rebuild';
