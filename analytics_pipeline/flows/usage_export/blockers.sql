-- sqlfluff:dialect:postgres
-- Others' open transactions that hold a lock for writing on a table that this one reads: sessions, and prepared ones
-- that nobody has ended.
WITH writers AS (
    SELECT DISTINCT
        theirs.pid,
        theirs.virtualtransaction
    FROM pg_locks AS ours
    INNER JOIN pg_locks AS theirs ON ours.relation = theirs.relation AND ours.database = theirs.database
    WHERE
        ours.pid = pg_backend_pid()
        AND ours.locktype = 'relation'
        -- The catalogue's own tables are below it.
        AND ours.relation >= 16384
        AND theirs.pid IS DISTINCT FROM pg_backend_pid()
        AND theirs.granted
        AND theirs.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
)

SELECT
    activity.pid,
    concat_ws(' ', activity.usename, nullif(activity.application_name, ''), activity.state) AS name,
    activity.xact_start AS since
FROM writers
INNER JOIN pg_stat_activity AS activity ON writers.pid = activity.pid
UNION ALL
SELECT
    NULL AS pid,
    concat_ws(' ', prepared_xact.owner, 'prepared', prepared_xact.gid) AS name,
    prepared_xact.prepared AS since
FROM pg_prepared_xacts AS prepared_xact
INNER JOIN pg_locks AS own ON prepared_xact.transaction = own.transactionid AND own.pid IS NULL
INNER JOIN writers ON own.virtualtransaction = writers.virtualtransaction AND writers.pid IS NULL
ORDER BY since ASC
