-- Questions to the chat, as the product's Postgres holds them. A day is replaced as a whole.
CREATE TABLE IF NOT EXISTS duo_chat_events ${ON_CLUSTER}
(
    id             UInt64 COMMENT 'ai_duo_chat_events.id',
    user_id        UInt64 COMMENT 'who it was',
    event          UInt16 COMMENT 'kind of event, numbered as in the source',
    namespace_path String COMMENT 'ids of the namespace and those above it, e.g. 1/2/; 0/ when it had none',
    timestamp      DateTime64(3, 'UTC') COMMENT 'when, floored to milliseconds; its UTC day is the partition'
)
ENGINE = ${REPLICATED}ReplacingMergeTree
PARTITION BY toDate(timestamp)
ORDER BY (namespace_path, user_id, event, timestamp, id);

-- Code suggestions shown, accepted and rejected, as the product's Postgres holds them. A day is replaced as a whole.
CREATE TABLE IF NOT EXISTS code_suggestion_events ${ON_CLUSTER}
(
    id                 UInt64 COMMENT 'ai_code_suggestion_events.id',
    user_id            UInt64 COMMENT 'who it was',
    event              UInt16 COMMENT 'kind of event, numbered as in the source',
    namespace_path     String COMMENT 'ids of the namespace and those above it, e.g. 1/2/; 0/ when it had none',
    timestamp          DateTime64(3, 'UTC') COMMENT 'when, floored to milliseconds; its UTC day is the partition',
    unique_tracking_id String COMMENT 'joins what was shown to what became of it; empty when unknown',
    language           LowCardinality(String) COMMENT 'language of the code; empty when unknown',
    suggestion_size    UInt64 COMMENT 'lines suggested; 0 when unknown',
    branch_name        String COMMENT 'branch that was worked on; empty when unknown'
)
ENGINE = ${REPLICATED}ReplacingMergeTree
PARTITION BY toDate(timestamp)
ORDER BY (namespace_path, user_id, event, timestamp, id);

-- Events of a day by who caused them where: whatever is distinct can be counted exactly over any days and namespaces.
CREATE TABLE IF NOT EXISTS ai_usage_daily ${ON_CLUSTER}
(
    date                Date COMMENT 'UTC day',
    feature             LowCardinality(String) COMMENT 'chat or code_suggestions',
    event               LowCardinality(String) COMMENT 'name of the event in the registry',
    user_id             UInt64 COMMENT 'who it was',
    namespace_path      String COMMENT 'as in the events',
    language            LowCardinality(String) COMMENT 'as in the events; empty for chat',
    occurrences         UInt64 COMMENT 'distinct events',
    suggestion_size_sum UInt64 COMMENT 'lines suggested, over all of them',
    last_at             DateTime64(3, 'UTC') COMMENT 'the latest of them'
)
ENGINE = ${REPLICATED}MergeTree
PARTITION BY date
ORDER BY (namespace_path, feature, event, user_id, language);
