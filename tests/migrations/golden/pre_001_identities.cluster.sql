-- One row per identity and snapshot day. The day closes the sorting key because FINAL de-duplicates across
-- partitions: without it, an identity's newest day would hide all its older ones.
CREATE TABLE IF NOT EXISTS identities ON CLUSTER `main`
(
    snapshot_date  Date COMMENT 'UTC day that the snapshot stands for',
    project_id     UInt64 COMMENT 'projects.id',
    environment_id String COMMENT 'environments.api_key',
    identifier     String COMMENT 'the customer''s own id of the identity',
    identity_key   String COMMENT 'django_id as text, else composite_key; salts percentage splits',
    traits         JSON(max_dynamic_paths = 64) COMMENT 'identity traits overlaid by system traits; text stays text',
    inserted_at    DateTime64(3, 'UTC') COMMENT 'version: when the capture of the environment began',
    ingested_at    DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') COMMENT 'when the row reached ClickHouse',
    source         LowCardinality(String) DEFAULT 'snapshot' COMMENT 'how the row was captured',
    is_deleted     UInt8 DEFAULT 0 COMMENT '1: tombstone of an identity that has gone from the source'
)
ENGINE = ReplicatedReplacingMergeTree(inserted_at, is_deleted)
PARTITION BY snapshot_date
PRIMARY KEY (environment_id, identifier)
ORDER BY (environment_id, identifier, snapshot_date)
TTL snapshot_date + INTERVAL 30 DAY;
