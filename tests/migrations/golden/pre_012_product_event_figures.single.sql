-- Figures of product events by day (UTC), kept for ever and by month. Read with FINAL. Each has columns
-- to be looked at, which are of its own row alone, and states to be merged: only those, counts and sums go over several
-- rows. A distinct count is exact. A quantile of durations is within 1 % of the duration at its rank.
-- Users with any event on a day.
CREATE TABLE IF NOT EXISTS analytics_daily_active_users  -- noqa: PRS
(
    organisation_id UInt64 COMMENT 'whose events these are',
    date            Date COMMENT 'UTC day',
    active_users    UInt64 COMMENT 'distinct users',
    total_events    UInt64 COMMENT 'events that have a user',
    users           AggregateFunction(uniqExact, UUID) COMMENT 'state of the distinct users',
    computed_at     DateTime64(3, 'UTC') COMMENT 'version: when the day was computed',
    is_deleted      UInt8 DEFAULT 0 COMMENT '1: tombstone of a figure that has gone',
    PROJECTION versions (SELECT date, max(computed_at) GROUP BY date)
)
ENGINE = ReplacingMergeTree(computed_at, is_deleted)
PARTITION BY toYYYYMM(date)
ORDER BY (organisation_id, date)
SETTINGS min_age_to_force_merge_seconds = 60, min_age_to_force_merge_on_partition_only = 1,
    deduplicate_merge_projection_mode = 'rebuild', lightweight_mutation_projection_mode = 'rebuild';

-- Tasks by what happened to them on a day. Durations are those of completed tasks alone.
CREATE TABLE IF NOT EXISTS analytics_task_stats_daily  -- noqa: PRS
(
    organisation_id UInt64 COMMENT 'whose events these are',
    date            Date COMMENT 'UTC day',
    created         UInt64 COMMENT 'task_created events',
    started         UInt64 COMMENT 'task_started events',
    completed       UInt64 COMMENT 'task_completed events',
    failed          UInt64 COMMENT 'task_failed events',
    cancelled       UInt64 COMMENT 'task_cancelled events',
    durations       UInt64 COMMENT 'completed tasks with a duration',
    duration_ms_sum Float64 COMMENT 'milliseconds of all of those',
    avg_duration_ms Nullable(Float64) COMMENT 'their mean',
    p95_duration_ms Nullable(Float64) COMMENT 'their 95th percentile',
    duration_sketch AggregateFunction(quantilesDD(0.01, 0.5, 0.95, 0.99), Int64) COMMENT 'state of the quantiles',
    computed_at     DateTime64(3, 'UTC') COMMENT 'version: when the day was computed',
    is_deleted      UInt8 DEFAULT 0 COMMENT '1: tombstone of a figure that has gone',
    PROJECTION versions (SELECT date, max(computed_at) GROUP BY date)
)
ENGINE = ReplacingMergeTree(computed_at, is_deleted)
PARTITION BY toYYYYMM(date)
ORDER BY (organisation_id, date)
SETTINGS min_age_to_force_merge_seconds = 60, min_age_to_force_merge_on_partition_only = 1,
    deduplicate_merge_projection_mode = 'rebuild', lightweight_mutation_projection_mode = 'rebuild';

-- Requests to services by endpoint and hour.
CREATE TABLE IF NOT EXISTS analytics_api_latency_hourly  -- noqa: PRS
(
    organisation_id UInt64 COMMENT 'whose events these are',
    service         LowCardinality(String) COMMENT 'the service that answered',
    endpoint        String COMMENT 'template of the path; empty when unknown',
    method          LowCardinality(String) COMMENT 'HTTP method; empty when unknown',
    date            Date COMMENT 'UTC day',
    hour            DateTime('UTC') COMMENT 'first moment of the hour',
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
ENGINE = ReplacingMergeTree(computed_at, is_deleted)
PARTITION BY toYYYYMM(date)
ORDER BY (organisation_id, service, endpoint, method, date, hour)
SETTINGS min_age_to_force_merge_seconds = 60, min_age_to_force_merge_on_partition_only = 1,
    deduplicate_merge_projection_mode = 'rebuild', lightweight_mutation_projection_mode = 'rebuild';

-- Integrations by provider and day.
CREATE TABLE IF NOT EXISTS analytics_integration_health_daily  -- noqa: PRS
(
    organisation_id UInt64 COMMENT 'whose events these are',
    provider        LowCardinality(String) COMMENT 'whose service is integrated',
    date            Date COMMENT 'UTC day',
    connections     UInt64 COMMENT 'integration_connected events',
    disconnections  UInt64 COMMENT 'integration_disconnected events',
    uses            UInt64 COMMENT 'integration_used events',
    errors          UInt64 COMMENT 'integration_error events',
    unique_users    UInt64 COMMENT 'distinct users of all of these',
    users           AggregateFunction(uniqExact, UUID) COMMENT 'state of the distinct users',
    connected       AggregateFunction(uniqExact, UUID) COMMENT 'state of the distinct integrations that were connected',
    computed_at     DateTime64(3, 'UTC') COMMENT 'version: when the day was computed',
    is_deleted      UInt8 DEFAULT 0 COMMENT '1: tombstone of a figure that has gone',
    PROJECTION versions (SELECT date, max(computed_at) GROUP BY date)
)
ENGINE = ReplacingMergeTree(computed_at, is_deleted)
PARTITION BY toYYYYMM(date)
ORDER BY (organisation_id, provider, date)
SETTINGS min_age_to_force_merge_seconds = 60, min_age_to_force_merge_on_partition_only = 1,
    deduplicate_merge_projection_mode = 'rebuild', lightweight_mutation_projection_mode = 'rebuild';

-- Logins and what follows them, by day.
CREATE TABLE IF NOT EXISTS analytics_auth_events_daily  -- noqa: PRS
(
    organisation_id            UInt64 COMMENT 'whose events these are',
    date                       Date COMMENT 'UTC day',
    login_attempts             UInt64 COMMENT 'auth_login_attempt events',
    successful_logins          UInt64 COMMENT 'those that succeeded',
    failed_logins              UInt64 COMMENT 'those that did not',
    code_verifications         UInt64 COMMENT 'auth_code_verified events, whether or not they succeeded',
    token_refreshes            UInt64 COMMENT 'auth_token_refresh events, whether or not they succeeded',
    unique_users_authenticated UInt64 COMMENT 'distinct users of all of these, also of those that failed',
    users                      AggregateFunction(uniqExact, UUID) COMMENT 'state of the distinct users',
    computed_at                DateTime64(3, 'UTC') COMMENT 'version: when the day was computed',
    is_deleted                 UInt8 DEFAULT 0 COMMENT '1: tombstone of a figure that has gone',
    PROJECTION versions (SELECT date, max(computed_at) GROUP BY date)
)
ENGINE = ReplacingMergeTree(computed_at, is_deleted)
PARTITION BY toYYYYMM(date)
ORDER BY (organisation_id, date)
SETTINGS min_age_to_force_merge_seconds = 60, min_age_to_force_merge_on_partition_only = 1,
    deduplicate_merge_projection_mode = 'rebuild', lightweight_mutation_projection_mode = 'rebuild';

-- Cocoons by what they did on a day. Sessions are those that a disconnection ended.
CREATE TABLE IF NOT EXISTS analytics_cocoon_activity_daily  -- noqa: PRS
(
    organisation_id              UInt64 COMMENT 'whose events these are',
    date                         Date COMMENT 'UTC day',
    registrations                UInt64 COMMENT 'cocoon_registered events',
    connections                  UInt64 COMMENT 'cocoon_connected events',
    disconnections               UInt64 COMMENT 'cocoon_disconnected events',
    claims                       UInt64 COMMENT 'cocoon_claimed events',
    sessions                     UInt64 COMMENT 'disconnections with a duration',
    session_seconds_sum          Float64 COMMENT 'seconds of all of those',
    avg_session_duration_seconds Nullable(Float64) COMMENT 'their mean',
    unique_cocoons               UInt64 COMMENT 'distinct cocoons of all of these',
    cocoons                      AggregateFunction(uniqExact, UUID) COMMENT 'state of the distinct cocoons',
    known                        AggregateFunction(uniqExact, UUID) COMMENT 'state of those registered or connected',
    computed_at                  DateTime64(3, 'UTC') COMMENT 'version: when the day was computed',
    is_deleted                   UInt8 DEFAULT 0 COMMENT '1: tombstone of a figure that has gone',
    PROJECTION versions (SELECT date, max(computed_at) GROUP BY date)
)
ENGINE = ReplacingMergeTree(computed_at, is_deleted)
PARTITION BY toYYYYMM(date)
ORDER BY (organisation_id, date)
SETTINGS min_age_to_force_merge_seconds = 60, min_age_to_force_merge_on_partition_only = 1,
    deduplicate_merge_projection_mode = 'rebuild', lightweight_mutation_projection_mode = 'rebuild';

-- Errors of services by type and hour.
CREATE TABLE IF NOT EXISTS analytics_errors_hourly  -- noqa: PRS
(
    organisation_id      UInt64 COMMENT 'whose events these are',
    service              LowCardinality(String) COMMENT 'the service that failed',
    error_type           LowCardinality(String) COMMENT 'as the service says',
    date                 Date COMMENT 'UTC day',
    hour                 DateTime('UTC') COMMENT 'first moment of the hour',
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
ORDER BY (organisation_id, service, error_type, date, hour)
SETTINGS min_age_to_force_merge_seconds = 60, min_age_to_force_merge_on_partition_only = 1,
    deduplicate_merge_projection_mode = 'rebuild', lightweight_mutation_projection_mode = 'rebuild';

-- All events by type and service. Custom events by their name as well.
CREATE TABLE IF NOT EXISTS daily_event_counts  -- noqa: PRS
(
    organisation_id UInt64 COMMENT 'whose events these are',
    event_type      LowCardinality(String) COMMENT 'type of the events',
    name            LowCardinality(String) COMMENT 'name of custom events; empty for all others',
    service         LowCardinality(String) COMMENT 'the service that sent them',
    date            Date COMMENT 'UTC day',
    events          UInt64 COMMENT 'events',
    last_at         DateTime64(3, 'UTC') COMMENT 'the latest of them',
    computed_at     DateTime64(3, 'UTC') COMMENT 'version: when the day was computed',
    is_deleted      UInt8 DEFAULT 0 COMMENT '1: tombstone of a figure that has gone',
    PROJECTION versions (SELECT date, max(computed_at) GROUP BY date)
)
ENGINE = ReplacingMergeTree(computed_at, is_deleted)
PARTITION BY toYYYYMM(date)
ORDER BY (organisation_id, event_type, name, service, date)
SETTINGS min_age_to_force_merge_seconds = 60, min_age_to_force_merge_on_partition_only = 1,
    deduplicate_merge_projection_mode = 'rebuild', lightweight_mutation_projection_mode = 'rebuild';
