-- What a table has left: its disks, its fullest partition, all of its parts, and the numbers that ClickHouse acts at.
WITH
-- A table's own setting goes before the server's.
own AS (
    SELECT
        any(storage_policy) AS policy,
        any(extract(engine_full, '\\bparts_to_delay_insert = (\\d+)')) AS slowed,
        any(extract(engine_full, '\\bmax_parts_in_total = (\\d+)')) AS refused
    FROM system.tables
    WHERE database = currentDatabase() AND name = {table:String}
),

server AS (
    SELECT
        anyIf(value, name = 'parts_to_delay_insert') AS slowed,
        anyIf(value, name = 'max_parts_in_total') AS refused
    FROM system.merge_tree_settings
),

policy_disks AS (
    SELECT arrayJoin(policies.disks) AS disk
    FROM system.storage_policies AS policies
    INNER JOIN own ON policies.policy_name = own.policy
),

-- Space that a running merge has reserved is not free; a disk without an end counts as empty.
disks AS (
    SELECT
        sum(toFloat64(unreserved_space)) AS free,
        sum(toFloat64(total_space)) AS total
    FROM system.disks
    WHERE name IN (SELECT policy_disks.disk FROM policy_disks)
),

partitions AS (
    SELECT
        partition_id AS held,
        count() AS parts
    FROM system.parts
    WHERE database = currentDatabase() AND table = {table:String} AND active
    GROUP BY held
),

fullest AS (
    SELECT
        argMax(held, parts) AS held,
        max(parts) AS most,
        sum(parts) AS together
    FROM partitions
)

SELECT
    disks.free,
    disks.total,
    fullest.held,
    fullest.most,
    fullest.together,
    toUInt64(if(own.slowed != '', own.slowed, server.slowed)) AS slowed,
    toUInt64(if(own.refused != '', own.refused, server.refused)) AS refused
FROM disks
CROSS JOIN fullest
CROSS JOIN own
CROSS JOIN server
