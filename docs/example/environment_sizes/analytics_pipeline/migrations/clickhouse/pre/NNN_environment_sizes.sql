-- How many identities each environment had on each day, kept for ever.
CREATE TABLE IF NOT EXISTS environment_sizes ${ON_CLUSTER}
(
    date           Date COMMENT 'snapshot day that was counted',
    project_id     UInt64 COMMENT 'projects.id',
    environment_id String COMMENT 'environments.api_key',
    identities     UInt64 COMMENT 'identities of the environment',
    computed_at    DateTime64(3, 'UTC') COMMENT 'version: when it was counted',
    is_deleted     UInt8 DEFAULT 0 COMMENT '1: tombstone of an environment that has gone'
)
ENGINE = ${REPLICATED}ReplacingMergeTree(computed_at, is_deleted)
PARTITION BY toYYYYMM(date)
ORDER BY (project_id, environment_id, date);
