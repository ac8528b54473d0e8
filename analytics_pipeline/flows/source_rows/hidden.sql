-- sqlfluff:dialect:postgres
-- The tables behind the named relations whose row-level security may hide rows from us. Behind a view it is the view's
-- owner whose rights count, unless the view says that they are the invoker's.
WITH RECURSIVE wanted AS (
    SELECT
        name,
        string_to_array(name, '.') AS parts
    FROM unnest(%(names)s::text[]) AS given (name)
),

behind AS (
    SELECT
        wanted.name,
        relation.oid,
        me.oid AS reader
    FROM wanted
    INNER JOIN pg_roles AS me ON me.rolname = current_user
    INNER JOIN pg_class AS relation ON wanted.parts[cardinality(wanted.parts)] = relation.relname
    INNER JOIN pg_namespace AS namespace ON relation.relnamespace = namespace.oid
    WHERE CASE
        WHEN cardinality(wanted.parts) = 2 THEN namespace.nspname = wanted.parts[1]
        ELSE pg_table_is_visible(relation.oid)
    END
    UNION
    SELECT
        behind.name,
        link.refobjid AS oid,
        CASE
            WHEN seen.reloptions && ARRAY['security_invoker=true', 'security_invoker=on', 'security_invoker=1']
                THEN behind.reader
            ELSE seen.relowner
        END AS reader
    FROM behind
    INNER JOIN pg_class AS seen ON behind.oid = seen.oid AND seen.relkind = 'v'
    INNER JOIN pg_rewrite AS rule ON seen.oid = rule.ev_class
    INNER JOIN pg_depend AS link
        ON
            rule.oid = link.objid
            AND link.classid = 'pg_rewrite'::regclass
            AND link.refclassid = 'pg_class'::regclass
            AND seen.oid <> link.refobjid
)

SELECT DISTINCT
    behind.name,
    held.oid::regclass::text AS hidden,
    role.rolname AS reader
FROM behind
INNER JOIN pg_class AS held ON behind.oid = held.oid
INNER JOIN pg_roles AS role ON behind.reader = role.oid
WHERE
    held.relrowsecurity
    AND NOT role.rolsuper
    AND NOT role.rolbypassrls
    AND (held.relforcerowsecurity OR NOT pg_has_role(role.oid, held.relowner, 'USAGE'))
ORDER BY behind.name ASC, hidden ASC
