-- sqlfluff:dialect:postgres
-- Seconds. A standby that has replayed all that it received, and still receives, is not behind, however long its
-- primary has been quiet. A primary counts replicas that follow it as a whole, not subscribers to some changes.
SELECT
    CASE
        WHEN NOT pg_is_in_recovery() THEN (
            SELECT max(extract(EPOCH FROM replica.replay_lag))
            FROM pg_stat_replication AS replica
            WHERE NOT EXISTS (
                SELECT 1 FROM pg_replication_slots AS slot
                WHERE slot.active_pid = replica.pid AND slot.slot_type = 'logical'
            )
        )
        WHEN
            pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() AND EXISTS (SELECT 1 FROM pg_stat_wal_receiver)
            THEN 0
        ELSE extract(EPOCH FROM clock_timestamp() - pg_last_xact_replay_timestamp())
    END
