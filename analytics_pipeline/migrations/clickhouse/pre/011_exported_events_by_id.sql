-- Finds records by the ids of their events without reading the table: what was sent is looked for by these.
ALTER TABLE exported_events ${ON_CLUSTER} -- noqa: PRS
    ADD INDEX IF NOT EXISTS by_event_log_id event_log_id TYPE minmax GRANULARITY 1;
