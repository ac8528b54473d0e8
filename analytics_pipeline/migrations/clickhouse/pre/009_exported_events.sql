-- Records of the usage export, for whom ClickHouse is a sink. Read it with FINAL: a record that was sent again is here
-- again until parts are merged.
CREATE TABLE IF NOT EXISTS exported_events ${ON_CLUSTER}
(
    record_id         UUID COMMENT 'the record''s id, the same each time that it is sent',
    event_log_id      UInt64 COMMENT 'event_logs.id',
    site_id           LowCardinality(String) COMMENT 'the instance that it comes from',
    deploy_type       LowCardinality(String) COMMENT 'how that instance is deployed',
    name              LowCardinality(String) COMMENT 'name of the event',
    url               String COMMENT 'always empty',
    anonymous_user_id String COMMENT 'who it was, when nobody was signed in',
    first_source_url  String COMMENT 'the page that the user first came from; empty when unknown',
    last_source_url   String COMMENT 'the page that the user last came from; empty when unknown',
    user_id           UInt64 COMMENT 'who it was; 0 when nobody was signed in',
    source            LowCardinality(String) COMMENT 'what sent the event, e.g. WEB',
    timestamp         DateTime64(6, 'UTC') COMMENT 'when it happened; its UTC day is the partition',
    version           LowCardinality(String) COMMENT 'version of what sent the event',
    feature_flags     String COMMENT 'the allowed feature flags, as the text of a JSON object',
    cohort_id         Nullable(Date32) COMMENT 'first day of the week in which the user began; NULL when unknown',
    referrer          String COMMENT 'the page before; empty when unknown',
    public_argument   String COMMENT 'the allowed keys of the event''s argument, as the text of a JSON object',
    device_id         Nullable(String) COMMENT 'the device; NULL when unknown',
    insert_id         Nullable(String) COMMENT 'the id that the sender gave it; NULL when unknown',
    exported_at       DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'version: when it arrived here'
)
ENGINE = ${REPLICATED}ReplacingMergeTree(exported_at)
PARTITION BY toDate(timestamp)
ORDER BY (name, timestamp, record_id);
