-- Requests to services by endpoint and day: to merge the hours of a month would cost 24 times as much.
CREATE TABLE IF NOT EXISTS analytics_api_latency_daily ON CLUSTER `main` -- noqa: PRS
(
    organisation_id UInt64 COMMENT 'whose events these are',
    service         LowCardinality(String) COMMENT 'the service that answered',
    endpoint        String COMMENT 'template of the path; empty when unknown',
    method          LowCardinality(String) COMMENT 'HTTP method; empty when unknown',
    date            Date COMMENT 'UTC day',
    request_count   UInt64 COMMENT 'api_request events',
    error_4xx_count UInt64 COMMENT 'those with a status from 400 to 499',
    error_5xx_count UInt64 COMMENT 'those with a status from 500 on',
    durations       UInt64 COMMENT 'requests with a duration',
    duration_ms_sum Float64 COMMENT 'milliseconds of all of those',
    avg_duration_ms Nullable(Float64) COMMENT 'their mean',
    p50_duration_ms Nullable(Float64) COMMENT 'their 50th percentile',
    p95_duration_ms Nullable(Float64) COMMENT 'their 95th percentile',
    p99_duration_ms Nullable(Float64) COMMENT 'their 99th percentile',
    duration_sketch AggregateFunction(quantilesDD(0.01, 0.5, 0.95, 0.99), Int64) COMMENT 'state of the quantiles',
    computed_at     DateTime64(3, 'UTC') COMMENT 'version: when the day was computed',
    is_deleted      UInt8 DEFAULT 0 COMMENT '1: tombstone of a figure that has gone',
    PROJECTION versions (SELECT date, max(computed_at) GROUP BY date)
)
ENGINE = ReplicatedReplacingMergeTree(computed_at, is_deleted)
PARTITION BY toYYYYMM(date)
ORDER BY (organisation_id, service, endpoint, method, date)
SETTINGS min_age_to_force_merge_seconds = 60, min_age_to_force_merge_on_partition_only = 1,
    deduplicate_merge_projection_mode = 'rebuild', lightweight_mutation_projection_mode = 'rebuild';
