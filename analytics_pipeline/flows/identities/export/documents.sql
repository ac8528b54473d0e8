-- The documents of export files, one row each, with what a row of `identities` needs. `is_plain` says that the columns
-- are exactly what documents.py makes of the document. Every other document (nested values, odd numbers, wrong shapes)
-- is left to documents.py itself.
-- noqa: disable=RF03
WITH
    'Tuple(S Nullable(String), N Nullable(String), BOOL Nullable(Bool), `NULL` Nullable(Bool))' AS value_type,
    concat(
        'Tuple(composite_key Tuple(S Nullable(String)), environment_api_key Tuple(S Nullable(String)),',
        ' identifier Tuple(S Nullable(String)), django_id Tuple(N Nullable(String)),',
        ' identity_traits Tuple(`NULL` Nullable(Bool),',
        ' L Array(Tuple(M Tuple(trait_key Tuple(S Nullable(String)), trait_value ', value_type, ')))),',
        ' system_traits Tuple(M Map(String, ', value_type, ')))'
    ) AS document_type,
    JSONExtract(Item, document_type) AS document,
    document.identity_traits.L AS listed,
    document.system_traits.M AS system,
    -- Each trait is (1: key, 2: text, 3: digits, 4: boolean, 5: is null); in every value one is set, else it is nested.
    arrayMap(
        trait -> (trait.M.trait_key.S, tupleElement(trait.M.trait_value, 'S'), tupleElement(trait.M.trait_value, 'N'),
            tupleElement(trait.M.trait_value, 'BOOL'), tupleElement(trait.M.trait_value, 'NULL')),
        listed
    ) AS listed_traits,
    arrayMap(
        (key, value) -> (toNullable(key), tupleElement(value, 'S'), tupleElement(value, 'N'),
            tupleElement(value, 'BOOL'), tupleElement(value, 'NULL')),
        mapKeys(system),
        mapValues(system)
    ) AS system_traits,
    -- System traits overlay the listed ones and of a repeated key the last wins: so from the end, each key once.
    arrayReverse(arrayConcat(listed_traits, system_traits)) AS every_trait,
    arrayFilter(
        (trait, occurrence) -> occurrence = 1, every_trait, arrayEnumerateUniq(arrayMap(trait -> trait.1, every_trait))
    ) AS traits,
    -- The digits that documents.py keeps as they are; a number in any other notation is not plain.
    arrayMap(trait -> coalesce(match(trait.3, '^(0|-?[1-9][0-9]{0,99})$'), false), every_trait) AS is_integer,
    arrayMap(
        trait -> coalesce(
            match(trait.3, '^-?(0|[1-9][0-9]{0,99})\\.[0-9]*[1-9]$')
            AND NOT startsWith(replaceOne(trait.3, '-', ''), '0.000000'),
            false
        ),
        every_trait
    ) AS is_fraction
SELECT
    Item AS payload,
    document.environment_api_key.S AS environment,
    document.identifier.S AS identifier,
    document.composite_key.S AS composite_key,
    coalesce(document.django_id.N, document.composite_key.S, '') AS identity_key,
    concat('{', arrayStringConcat(arrayMap(
        trait -> concat(
            toJSONString(assumeNotNull(trait.1)),
            ':',
            multiIf(
                isNotNull(trait.2), toJSONString(assumeNotNull(trait.2)),
                isNotNull(trait.4), if(assumeNotNull(trait.4), 'true', 'false'),
                isNull(trait.3), 'null',
                -- Beyond Int64 an integer becomes its decimal text; digits of one length compare as text.
                position(assumeNotNull(trait.3), '.') = 0
                AND (length(replaceOne(assumeNotNull(trait.3), '-', '')), replaceOne(assumeNotNull(trait.3), '-', ''))
                > (19, if(startsWith(assumeNotNull(trait.3), '-'), '9223372036854775808', '9223372036854775807')),
                toJSONString(assumeNotNull(trait.3)),
                assumeNotNull(trait.3)
            )
        ),
        traits
    ), ','), '}') AS traits_json,
    coalesce(
        isNotNull(document.environment_api_key.S)
        AND isNotNull(document.identifier.S)
        AND lengthUTF8(assumeNotNull(document.identifier.S)) <= {longest_identifier:UInt32}
        AND isNotNull(coalesce(document.django_id.N, document.composite_key.S))
        AND arrayAll(
            (trait, integer, fraction) -> isNotNull(trait.1) AND (
                isNotNull(trait.2) OR isNotNull(trait.4) OR coalesce(trait.5, false) OR integer OR fraction
            ),
            every_trait, is_integer, is_fraction
        )
        -- No traits at all is an answer; no list of traits where one should be is not.
        AND (
            notEmpty(listed)
            OR coalesce(tupleElement(document.identity_traits, 'NULL'), false)
            OR (JSONType(Item, 'identity_traits', 'L') = 'Array' AND JSONLength(Item, 'identity_traits', 'L') = 0)
            OR NOT JSONHas(Item, 'identity_traits')
        ),
        false
    ) AS is_plain
FROM ${FILES}
