-- How many identities each segment held in each environment on each day, kept for ever.
CREATE TABLE IF NOT EXISTS segment_counts ON CLUSTER `main`
(
    date            Date COMMENT 'snapshot day that was counted',
    organisation_id UInt64 COMMENT 'organisations.id',
    project_id      UInt64 COMMENT 'projects.id',
    segment_id      UInt64 COMMENT 'segments.id',
    environment_id  UInt64 COMMENT 'environments.id',
    environment_key String COMMENT 'environments.api_key',
    count           Nullable(UInt64) COMMENT 'identities in the segment; NULL is unknown, 0 is none',
    status          Enum8('counted' = 1, 'fallback' = 2, 'failed' = 3) COMMENT 'how the count came about',
    reason          String COMMENT 'why it fell back or failed',
    computed_at     DateTime64(3, 'UTC') COMMENT 'version: when the count was computed',
    is_deleted      UInt8 DEFAULT 0 COMMENT '1: tombstone of a pair that the day''s newest count no longer has'
)
ENGINE = ReplicatedReplacingMergeTree(computed_at, is_deleted)
PARTITION BY toYYYYMM(date)
ORDER BY (project_id, segment_id, environment_id, date);
