-- Tables of figures whose rows hold states, with fewer rows to a granule: reading a state takes tens of microseconds,
-- and who reads one organisation should read few of others. A table's granules cannot be changed in place.
--
-- Rows are copied before the exchange, and once more after it: old code goes on writing meanwhile. What is copied twice
-- has the same key and version, so the table's engine keeps one of it.

DROP TABLE IF EXISTS analytics_daily_active_users_finer  SYNC;
CREATE TABLE analytics_daily_active_users_finer  AS analytics_daily_active_users -- noqa: PRS
ENGINE = ReplacingMergeTree(computed_at, is_deleted)
PARTITION BY toYYYYMM(date)
ORDER BY (organisation_id, date)
SETTINGS index_granularity = 32, min_age_to_force_merge_seconds = 60, min_age_to_force_merge_on_partition_only = 1,
    deduplicate_merge_projection_mode = 'rebuild', lightweight_mutation_projection_mode = 'rebuild';
INSERT INTO analytics_daily_active_users_finer SELECT * FROM analytics_daily_active_users;
EXCHANGE TABLES analytics_daily_active_users_finer AND analytics_daily_active_users ;
INSERT INTO analytics_daily_active_users SELECT * FROM analytics_daily_active_users_finer;
DROP TABLE analytics_daily_active_users_finer  SYNC;

DROP TABLE IF EXISTS analytics_task_stats_daily_finer  SYNC;
CREATE TABLE analytics_task_stats_daily_finer  AS analytics_task_stats_daily -- noqa: PRS
ENGINE = ReplacingMergeTree(computed_at, is_deleted)
PARTITION BY toYYYYMM(date)
ORDER BY (organisation_id, date)
SETTINGS index_granularity = 32, min_age_to_force_merge_seconds = 60, min_age_to_force_merge_on_partition_only = 1,
    deduplicate_merge_projection_mode = 'rebuild', lightweight_mutation_projection_mode = 'rebuild';
INSERT INTO analytics_task_stats_daily_finer SELECT * FROM analytics_task_stats_daily;
EXCHANGE TABLES analytics_task_stats_daily_finer AND analytics_task_stats_daily ;
INSERT INTO analytics_task_stats_daily SELECT * FROM analytics_task_stats_daily_finer;
DROP TABLE analytics_task_stats_daily_finer  SYNC;

DROP TABLE IF EXISTS analytics_api_latency_hourly_finer  SYNC;
CREATE TABLE analytics_api_latency_hourly_finer  AS analytics_api_latency_hourly -- noqa: PRS
ENGINE = ReplacingMergeTree(computed_at, is_deleted)
PARTITION BY toYYYYMM(date)
ORDER BY (organisation_id, service, endpoint, method, date, hour)
SETTINGS index_granularity = 256, min_age_to_force_merge_seconds = 60, min_age_to_force_merge_on_partition_only = 1,
    deduplicate_merge_projection_mode = 'rebuild', lightweight_mutation_projection_mode = 'rebuild';
INSERT INTO analytics_api_latency_hourly_finer SELECT * FROM analytics_api_latency_hourly;
EXCHANGE TABLES analytics_api_latency_hourly_finer AND analytics_api_latency_hourly ;
INSERT INTO analytics_api_latency_hourly SELECT * FROM analytics_api_latency_hourly_finer;
DROP TABLE analytics_api_latency_hourly_finer  SYNC;

DROP TABLE IF EXISTS analytics_integration_health_daily_finer  SYNC;
CREATE TABLE analytics_integration_health_daily_finer  AS analytics_integration_health_daily -- noqa: PRS
ENGINE = ReplacingMergeTree(computed_at, is_deleted)
PARTITION BY toYYYYMM(date)
ORDER BY (organisation_id, provider, date)
SETTINGS index_granularity = 32, min_age_to_force_merge_seconds = 60, min_age_to_force_merge_on_partition_only = 1,
    deduplicate_merge_projection_mode = 'rebuild', lightweight_mutation_projection_mode = 'rebuild';
INSERT INTO analytics_integration_health_daily_finer SELECT * FROM analytics_integration_health_daily;
EXCHANGE TABLES analytics_integration_health_daily_finer AND analytics_integration_health_daily ;
INSERT INTO analytics_integration_health_daily SELECT * FROM analytics_integration_health_daily_finer;
DROP TABLE analytics_integration_health_daily_finer  SYNC;

DROP TABLE IF EXISTS analytics_auth_events_daily_finer  SYNC;
CREATE TABLE analytics_auth_events_daily_finer  AS analytics_auth_events_daily -- noqa: PRS
ENGINE = ReplacingMergeTree(computed_at, is_deleted)
PARTITION BY toYYYYMM(date)
ORDER BY (organisation_id, date)
SETTINGS index_granularity = 32, min_age_to_force_merge_seconds = 60, min_age_to_force_merge_on_partition_only = 1,
    deduplicate_merge_projection_mode = 'rebuild', lightweight_mutation_projection_mode = 'rebuild';
INSERT INTO analytics_auth_events_daily_finer SELECT * FROM analytics_auth_events_daily;
EXCHANGE TABLES analytics_auth_events_daily_finer AND analytics_auth_events_daily ;
INSERT INTO analytics_auth_events_daily SELECT * FROM analytics_auth_events_daily_finer;
DROP TABLE analytics_auth_events_daily_finer  SYNC;

DROP TABLE IF EXISTS analytics_cocoon_activity_daily_finer  SYNC;
CREATE TABLE analytics_cocoon_activity_daily_finer  AS analytics_cocoon_activity_daily -- noqa: PRS
ENGINE = ReplacingMergeTree(computed_at, is_deleted)
PARTITION BY toYYYYMM(date)
ORDER BY (organisation_id, date)
SETTINGS index_granularity = 32, min_age_to_force_merge_seconds = 60, min_age_to_force_merge_on_partition_only = 1,
    deduplicate_merge_projection_mode = 'rebuild', lightweight_mutation_projection_mode = 'rebuild';
INSERT INTO analytics_cocoon_activity_daily_finer SELECT * FROM analytics_cocoon_activity_daily;
EXCHANGE TABLES analytics_cocoon_activity_daily_finer AND analytics_cocoon_activity_daily ;
INSERT INTO analytics_cocoon_activity_daily SELECT * FROM analytics_cocoon_activity_daily_finer;
DROP TABLE analytics_cocoon_activity_daily_finer  SYNC;

DROP TABLE IF EXISTS analytics_errors_hourly_finer  SYNC;
CREATE TABLE analytics_errors_hourly_finer  AS analytics_errors_hourly -- noqa: PRS
ENGINE = ReplacingMergeTree(computed_at, is_deleted)
PARTITION BY toYYYYMM(date)
ORDER BY (organisation_id, service, error_type, date, hour)
SETTINGS index_granularity = 256, min_age_to_force_merge_seconds = 60, min_age_to_force_merge_on_partition_only = 1,
    deduplicate_merge_projection_mode = 'rebuild', lightweight_mutation_projection_mode = 'rebuild';
INSERT INTO analytics_errors_hourly_finer SELECT * FROM analytics_errors_hourly;
EXCHANGE TABLES analytics_errors_hourly_finer AND analytics_errors_hourly ;
INSERT INTO analytics_errors_hourly SELECT * FROM analytics_errors_hourly_finer;
DROP TABLE analytics_errors_hourly_finer  SYNC;

DROP TABLE IF EXISTS analytics_api_latency_daily_finer  SYNC;
CREATE TABLE analytics_api_latency_daily_finer  AS analytics_api_latency_daily -- noqa: PRS
ENGINE = ReplacingMergeTree(computed_at, is_deleted)
PARTITION BY toYYYYMM(date)
ORDER BY (organisation_id, service, endpoint, method, date)
SETTINGS index_granularity = 64, min_age_to_force_merge_seconds = 60, min_age_to_force_merge_on_partition_only = 1,
    deduplicate_merge_projection_mode = 'rebuild', lightweight_mutation_projection_mode = 'rebuild';
INSERT INTO analytics_api_latency_daily_finer SELECT * FROM analytics_api_latency_daily;
EXCHANGE TABLES analytics_api_latency_daily_finer AND analytics_api_latency_daily ;
INSERT INTO analytics_api_latency_daily SELECT * FROM analytics_api_latency_daily_finer;
DROP TABLE analytics_api_latency_daily_finer  SYNC;
