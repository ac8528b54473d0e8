-- What each table has left: its disks, its fullest partition, all its parts, and the numbers that ClickHouse acts at.
WITH
-- A table's own setting goes before the server's.
own AS (
    SELECT
        name,
        storage_policy AS policy,
        extract(engine_full, '\\bparts_to_delay_insert = (\\d+)') AS slowed,
        extract(engine_full, '\\bmax_parts_in_total = (\\d+)') AS refused
    FROM system.tables
    WHERE database = currentDatabase() AND name IN {tables:Array(String)}
),

server AS (
    SELECT
        anyIf(value, name = 'parts_to_delay_insert') AS slowed,
        anyIf(value, name = 'max_parts_in_total') AS refused
    FROM system.merge_tree_settings
),

policy_disks AS (
    SELECT
        policy_name AS policy,
        arrayJoin(disks) AS disk
    FROM system.storage_policies
),

-- Space that a running merge has reserved is not free; a disk without an end counts as empty.
room AS (
    SELECT
        policy_disks.policy AS policy,
        sum(toFloat64(disks.unreserved_space)) AS free,
        sum(toFloat64(disks.total_space)) AS total
    FROM policy_disks
    INNER JOIN system.disks AS disks ON policy_disks.disk = disks.name
    GROUP BY policy
),

partitions AS (
    SELECT
        table,
        partition_id AS held,
        count() AS parts
    FROM system.parts
    WHERE database = currentDatabase() AND table IN {tables:Array(String)} AND active
    GROUP BY table, held
),

fullest AS (
    SELECT
        table,
        argMax(held, parts) AS held,
        max(parts) AS most,
        sum(parts) AS together
    FROM partitions
    GROUP BY table
)

SELECT
    own.name,
    room.free,
    room.total,
    fullest.held,
    fullest.most,
    fullest.together,
    toUInt64(if(own.slowed != '', own.slowed, server.slowed)) AS slowed,
    toUInt64(if(own.refused != '', own.refused, server.refused)) AS refused
FROM own
LEFT JOIN room ON own.policy = room.policy
LEFT JOIN fullest ON own.name = fullest.table
CROSS JOIN server
ORDER BY own.name
