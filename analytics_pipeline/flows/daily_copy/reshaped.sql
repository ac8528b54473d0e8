-- sqlfluff:dialect:postgres
-- The relations that this transaction has locked, or was sent to, and that are not what its snapshot sees: a table that
-- was rewritten or emptied since (its earlier rows look as if they had never been), one in another's place, and
-- partitions that came with rows or went. A partition that was made empty is none of these. The catalogue is read as of
-- the snapshot; its functions answer for the present.
WITH locked AS (
    SELECT DISTINCT
        relation.oid,
        relation.relkind,
        relation.relfilenode
    FROM pg_locks AS held
    INNER JOIN pg_class AS relation ON held.relation = relation.oid
    WHERE
        held.pid = pg_backend_pid()
        AND held.locktype = 'relation'
        AND held.database = (
            SELECT oid FROM pg_database
            WHERE datname = current_database()
        )
        AND relation.oid >= 16384
        AND relation.relkind IN ('r', 'm', 'p')
),

had AS (
    SELECT inherits.inhrelid AS oid
    FROM locked
    INNER JOIN pg_inherits AS inherits ON locked.oid = inherits.inhparent
    WHERE locked.relkind = 'p'
),

has AS (
    SELECT tree.relid::oid AS oid
    FROM locked
    CROSS JOIN LATERAL pg_partition_tree(locked.oid) AS tree
    WHERE locked.relkind = 'p' AND tree.level = 1
)

SELECT oid::regclass::text FROM locked
WHERE relkind <> 'p' AND relfilenode IS DISTINCT FROM pg_relation_filenode(oid)
UNION
SELECT had.oid::regclass::text FROM had
LEFT JOIN has ON had.oid = has.oid
WHERE has.oid IS NULL
UNION
SELECT relation.oid::regclass::text FROM has
INNER JOIN pg_class AS relation ON has.oid = relation.oid
LEFT JOIN had ON relation.oid = had.oid
WHERE had.oid IS NULL
UNION
SELECT %(relation)s::text
WHERE
    NOT EXISTS (
        SELECT FROM pg_class
        WHERE oid = to_regclass(%(relation)s::text) AND relname = %(name)s::text
    )
