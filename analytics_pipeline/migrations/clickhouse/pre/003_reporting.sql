-- The product's reporting events, as its Postgres holds them. A day is replaced as a whole.
CREATE TABLE IF NOT EXISTS reporting_events ${ON_CLUSTER}
(
    id                      Int64 COMMENT 'reporting_events.id',
    name                    LowCardinality(String) COMMENT 'kind of event, e.g. first_response',
    value                   Nullable(Float64) COMMENT 'seconds',
    value_in_business_hours Nullable(Float64) COMMENT 'seconds within the inbox''s working hours',
    account_id              Int64 COMMENT 'accounts.id',
    inbox_id                Nullable(Int64) COMMENT 'inbox of the conversation',
    user_id                 Nullable(Int64) COMMENT 'agent; NULL for bots',
    conversation_id         Nullable(Int64) COMMENT 'conversations.id',
    event_start_time        Nullable(DateTime64(6, 'UTC')) COMMENT 'start of the measured interval',
    event_end_time          Nullable(DateTime64(6, 'UTC')) COMMENT 'end of the measured interval',
    created_at              DateTime64(6, 'UTC') COMMENT 'when it happened; its UTC day is the partition',
    updated_at              Nullable(DateTime64(6, 'UTC')) COMMENT 'when the row last changed'
)
ENGINE = ${REPLICATED}MergeTree
PARTITION BY toDate(created_at)
ORDER BY (account_id, name, created_at, id);

-- Which half-open UTC interval each account's local day is: computed once from the pinned time zone database.
CREATE TABLE IF NOT EXISTS reporting_day_bounds ${ON_CLUSTER}
(
    account_id Int64 COMMENT 'accounts.id',
    date       Date COMMENT 'day in the account''s reporting time zone',
    timezone   LowCardinality(String) COMMENT 'the IANA name of that zone',
    starts_at  DateTime64(6, 'UTC') COMMENT 'first moment of the day',
    ends_at    DateTime64(6, 'UTC') COMMENT 'first moment of the next day'
)
ENGINE = ${REPLICATED}MergeTree
PARTITION BY date
ORDER BY (account_id, starts_at);

-- Counts and sums of each local day, account and dimension. A day is replaced as a whole; a key without a row is zero.
CREATE TABLE IF NOT EXISTS reporting_rollups ${ON_CLUSTER}
(
    account_id               Int64 COMMENT 'accounts.id',
    date                     Date COMMENT 'day in the account''s reporting time zone',
    dimension_type           LowCardinality(String) COMMENT 'account, agent or inbox',
    dimension_id             Int64 COMMENT 'id of the account, agent or inbox',
    metric                   LowCardinality(String) COMMENT 'rollup metric, e.g. resolution_time',
    count                    Int64 COMMENT 'events, or distinct conversations for bot handoffs',
    sum_value                Float64 COMMENT 'seconds; 0 for metrics that only count',
    sum_value_business_hours Float64 COMMENT 'seconds within working hours; 0 for metrics that only count',
    timezone                 LowCardinality(String) COMMENT 'the zone whose day this is',
    computed_at              DateTime64(3, 'UTC') COMMENT 'when the day was computed'
)
ENGINE = ${REPLICATED}MergeTree
PARTITION BY date
ORDER BY (account_id, metric, dimension_type, dimension_id);
