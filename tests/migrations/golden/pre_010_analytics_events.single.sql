-- Events of product services. An id is stored once over the whole retention, as long as ingestion alone writes: a
-- repeat of the same row is here again until parts are merged. Read it with FINAL. How long
-- rows are kept follows the settings: `migrate` sets it after this.
CREATE TABLE IF NOT EXISTS analytics_events 
(
    organisation_id  UInt64 COMMENT 'whose event it is: that of the token it was sent with',
    event_id         UUID COMMENT 'the event''s id, unique in its organisation',
    timestamp        DateTime64(3, 'UTC') COMMENT 'when, by the client''s clock; its UTC day is the partition',
    received_at      DateTime64(3, 'UTC') COMMENT 'version: when ingestion took it',
    skew_ms          Nullable(Int64) COMMENT 'our clock minus the client''s when the batch was sent; NULL when unknown',
    event_type       LowCardinality(String) COMMENT 'type of the event, e.g. task_created; custom for any other',
    name             LowCardinality(String) COMMENT 'name of a custom event, else empty',
    service          LowCardinality(String) COMMENT 'what sent it; unknown when nobody says',
    user_id          Nullable(UUID) COMMENT 'who it was',
    hostname         LowCardinality(String) COMMENT 'the machine that it comes from; empty when unknown',
    environment      LowCardinality(String) COMMENT 'e.g. production; empty when unknown',
    sdk              LowCardinality(String) COMMENT 'the library that sent it; empty when unknown',
    task_id          Nullable(UUID) COMMENT 'the event''s member of that name',
    project_id       Nullable(UUID) COMMENT 'the event''s member of that name',
    cocoon_id        Nullable(UUID) COMMENT 'the event''s member of that name',
    integration_id   Nullable(UUID) COMMENT 'the event''s member of that name',
    provider         LowCardinality(String) COMMENT 'the event''s member of that name; empty when it has none',
    success          Nullable(Bool) COMMENT 'the event''s member of that name',
    duration_ms      Nullable(Int64) COMMENT 'the event''s member of that name',
    duration_seconds Nullable(Int64) COMMENT 'the event''s member of that name',
    exit_code        Nullable(Int32) COMMENT 'the event''s member of that name',
    endpoint         String COMMENT 'a route, as the privacy policy leaves it; empty when it has none',
    method           LowCardinality(String) COMMENT 'the event''s member of that name; empty when it has none',
    status_code      Nullable(UInt16) COMMENT 'the event''s member of that name; one that does not fit is in data',
    error_type       LowCardinality(String) COMMENT 'the event''s member of that name; empty when it has none',
    error_message    String COMMENT 'a message, as the privacy policy leaves it; empty when it has none',
    data             JSON(max_dynamic_paths = 64) COMMENT 'all other members of the event; text stays text'
)
ENGINE = ReplacingMergeTree(received_at)
PARTITION BY toDate(timestamp)
ORDER BY (organisation_id, event_type, service, timestamp, event_id)
SETTINGS ttl_only_drop_parts = 1;

-- Which ids are taken, and by the row of which sorting key. Ingestion writes here first, then there: who finds an id
-- taken makes sure that its row is in analytics_events. An id is a number here: ClickHouse sorts UUIDs by their second
-- half, so that those of a few seconds would be in all parts.
CREATE TABLE IF NOT EXISTS analytics_event_ids 
(
    organisation_id UInt64 COMMENT 'whose event it is',
    id              UInt128 COMMENT 'the event''s id as a number: toUInt128(event_id)',
    timestamp       DateTime64(3, 'UTC') COMMENT 'of the event',
    event_type      LowCardinality(String) COMMENT 'of the event',
    service         LowCardinality(String) COMMENT 'of the event',
    claimed_at      DateTime64(3, 'UTC') COMMENT 'when ingestion took the id; the partition is its week'
)
ENGINE = ReplacingMergeTree(claimed_at)
PARTITION BY toMonday(claimed_at)
PRIMARY KEY (organisation_id, id)
ORDER BY (organisation_id, id, event_type, service, timestamp)
SETTINGS index_granularity = 1024, ttl_only_drop_parts = 1;
