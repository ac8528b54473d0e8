-- Figures of days, kept by month: a year of one account is 13 parts to read instead of 365. What is older than a minute
-- is merged, because a month that was rewritten is held twice until then. `migrate post` takes over what the tables by
-- day hold, and gives these their names.
CREATE TABLE IF NOT EXISTS reporting_day_bounds_by_month 
(
    account_id  Int64 COMMENT 'accounts.id',
    date        Date COMMENT 'day in the account''s reporting time zone',
    timezone    LowCardinality(String) COMMENT 'the IANA name of that zone',
    starts_at   DateTime64(6, 'UTC') COMMENT 'first moment of the day',
    ends_at     DateTime64(6, 'UTC') COMMENT 'first moment of the next day',
    computed_at DateTime64(3, 'UTC') COMMENT 'version: when the day was computed',
    is_deleted  UInt8 DEFAULT 0 COMMENT '1: tombstone of a day that has gone',
    -- Code from before this table writes no version. It has to fail: it would replace partitions that are not there.
    CONSTRAINT has_a_version CHECK computed_at > toDateTime64('1970-01-02 00:00:00', 3, 'UTC')
)
ENGINE = ReplacingMergeTree(computed_at, is_deleted)
PARTITION BY toYYYYMM(date)
ORDER BY (account_id, date)
SETTINGS min_age_to_force_merge_seconds = 60, min_age_to_force_merge_on_partition_only = 1;

-- Counts and sums of each local day, account and dimension. A key without a row is zero. Read with FINAL.
CREATE TABLE IF NOT EXISTS reporting_rollups_by_month  -- noqa: PRS
(
    account_id               Int64 COMMENT 'accounts.id',
    date                     Date COMMENT 'day in the account''s reporting time zone',
    dimension_type           LowCardinality(String) COMMENT 'account, agent or inbox',
    dimension_id             Int64 COMMENT 'id of the account, agent or inbox',
    metric                   LowCardinality(String) COMMENT 'rollup metric, e.g. resolution_time',
    count                    Int64 COMMENT 'events, or distinct conversations for bot handoffs',
    sum_value                Float64 COMMENT 'seconds; 0 for metrics that only count',
    sum_value_business_hours Float64 COMMENT 'seconds within working hours; 0 for metrics that only count',
    conversations            AggregateFunction(groupBitmap, UInt64) COMMENT 'what a distinct count is of',
    timezone                 LowCardinality(String) COMMENT 'the zone whose day this is',
    computed_at              DateTime64(3, 'UTC') COMMENT 'version: when the day was computed',
    is_deleted               UInt8 DEFAULT 0 COMMENT '1: tombstone of a figure that has gone',
    -- Whether each day is still what was computed is asked at every look and every read: 5 ms instead of 30 for a year.
    PROJECTION versions (SELECT date, max(computed_at) GROUP BY date)
)
ENGINE = ReplacingMergeTree(computed_at, is_deleted)
PARTITION BY toYYYYMM(date)
ORDER BY (account_id, metric, dimension_type, dimension_id, date)
SETTINGS min_age_to_force_merge_seconds = 60, min_age_to_force_merge_on_partition_only = 1,
    deduplicate_merge_projection_mode = 'rebuild', lightweight_mutation_projection_mode = 'rebuild';

-- Events of a day by who caused them where: whatever is distinct can be counted exactly over any days and namespaces.
CREATE TABLE IF NOT EXISTS ai_usage_daily_by_month  -- noqa: PRS
(
    date                Date COMMENT 'UTC day',
    feature             LowCardinality(String) COMMENT 'chat or code_suggestions',
    event               LowCardinality(String) COMMENT 'name of the event in the registry',
    user_id             UInt64 COMMENT 'who it was',
    namespace_path      String COMMENT 'as in the events',
    language            LowCardinality(String) COMMENT 'as in the events; empty for chat',
    occurrences         UInt64 COMMENT 'distinct events',
    suggestion_size_sum UInt64 COMMENT 'lines suggested, over all of them',
    last_at             DateTime64(3, 'UTC') COMMENT 'the latest of them',
    computed_at         DateTime64(3, 'UTC') COMMENT 'version: when the day was counted',
    is_deleted          UInt8 DEFAULT 0 COMMENT '1: tombstone of a figure that has gone',
    PROJECTION versions (SELECT date, max(computed_at) GROUP BY date),
    CONSTRAINT has_a_version CHECK computed_at > toDateTime64('1970-01-02 00:00:00', 3, 'UTC')
)
ENGINE = ReplacingMergeTree(computed_at, is_deleted)
PARTITION BY toYYYYMM(date)
ORDER BY (namespace_path, feature, event, user_id, language, date)
SETTINGS min_age_to_force_merge_seconds = 60, min_age_to_force_merge_on_partition_only = 1,
    deduplicate_merge_projection_mode = 'rebuild', lightweight_mutation_projection_mode = 'rebuild';
