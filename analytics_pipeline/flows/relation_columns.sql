-- sqlfluff:dialect:postgres
-- The columns of the named relations. Their names are looked up in the catalogue: to_regclass fails where the user may
-- not use the schema.
WITH wanted AS (
    SELECT
        name,
        string_to_array(name, '.') AS parts
    FROM unnest(%(names)s::text[]) AS given (name)
)

SELECT
    wanted.name,
    attribute.attname,
    (
        WITH RECURSIVE made_of AS (
            SELECT attribute.atttypid AS oid
            UNION ALL
            SELECT domain.typbasetype FROM made_of
            INNER JOIN pg_type AS domain ON made_of.oid = domain.oid
            WHERE domain.typtype = 'd'
        )

        SELECT
            CASE
                WHEN base.typtype = 'e' THEN 'enum'
                WHEN base.typcategory = 'S' AND base.oid <> 'bpchar'::regtype THEN 'text'
                ELSE format_type(base.oid, NULL)
            END
        FROM made_of
        INNER JOIN pg_type AS base ON made_of.oid = base.oid
        WHERE base.typtype <> 'd'
    ) AS type_name,
    has_schema_privilege(relation.relnamespace, 'USAGE')
    AND has_column_privilege(relation.oid, attribute.attnum, 'SELECT') AS is_readable
FROM wanted
INNER JOIN pg_class AS relation ON wanted.parts[cardinality(wanted.parts)] = relation.relname
INNER JOIN pg_namespace AS namespace ON relation.relnamespace = namespace.oid
INNER JOIN pg_attribute AS attribute ON relation.oid = attribute.attrelid
WHERE
    relation.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND (
        CASE
            WHEN cardinality(wanted.parts) = 2 THEN namespace.nspname = wanted.parts[1]
            ELSE pg_table_is_visible(relation.oid)
        END
    )
    AND attribute.attnum > 0 AND NOT attribute.attisdropped
ORDER BY wanted.name ASC, attribute.attnum ASC
