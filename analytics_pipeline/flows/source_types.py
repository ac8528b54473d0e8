"""Types that a column of the source may have, and how a value of each is read as what the pipeline needs.

A type is the name that Postgres gives it, of a domain that of what it is made of. Two names stand for several: `text`
for all types of text but `character`, whose values are padded, and `enum` for every enumeration.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from typing_extensions import LiteralString


class Kind(Enum):
    """The kind of value that a column of the contract holds; the enum's value says it in words."""

    KEY = "an integer"
    NUMBER = "a number"
    MOMENT = "a timestamp"
    MOMENT_OR_DAY = "a timestamp or a date"
    DAY = "a date"
    TEXT = "text"
    JSON = "jsonb"
    BOOLEAN = "a boolean"


@dataclass(frozen=True)
class Reading:
    """How values of a type become what is needed; `{0}` stands for the column.

    `cast` is SQL that may be evaluated where `fits` is true or NULL, and `misfit` says what a value is where `fits` is
    false. An empty `fits` is true of all values, an empty `cast` says that the value is what is needed as it stands.
    `note` tells an operator what comes of it. A type that is `only_copied` is read where rows are copied, nowhere else.
    """

    cast: LiteralString = ""
    fits: LiteralString = ""
    misfit: str = ""
    note: str = ""
    only_copied: bool = False


_AS_IT_IS = Reading()
_NOT_WHOLE = "not a whole number of 64 bits"
_BEYOND = "beyond what double precision holds"
_ROWS = "a row whose value is {misfit} becomes a dead letter"
# Postgres refuses to cast what would become infinite or 0, with an error that ends the whole statement.
_WITHIN_DOUBLE: LiteralString = (
    "({0} = 0 OR abs({0}) BETWEEN 2.5e-324 AND 1.797693134862315807e308"
    " OR {0} IN ('NaN'::numeric, 'Infinity'::numeric, '-Infinity'::numeric))"
)
# Fewer digits than numeric takes, so that asking for the size of what is written like a number never fails.
_WRITTEN_NUMBER: LiteralString = r"'^[+-]?([0-9]{{1,250}}\.?[0-9]{{0,250}}|\.[0-9]{{1,250}})([eE][+-]?[0-9]{{1,3}})?$'"
_FROM_FLOAT = Reading(
    "{0}::bigint",
    "({0} = trunc({0}) AND {0} >= -9223372036854775808::float8 AND {0} < 9223372036854775808::float8)",
    _NOT_WHOLE,
    _ROWS.format(misfit=_NOT_WHOLE),
    only_copied=True,
)
_AS_TEXT = Reading("{0}::text", only_copied=True)
# With an exponent of three digits still fewer than the 16,383 that numeric takes after its point.
_LONG_NUMBER: LiteralString = (
    "length({0}::text) > 15000 AND (SELECT max(length(digits)) FROM regexp_split_to_table("
    r"""regexp_replace({0}::text, '"([^"\\]|\\.)*"', '', 'g'), '[^0-9]+') AS run (digits)) > 15000"""
)
# Two backslashes are one character, and two halves of a surrogate pair another. What is left would be an error.
_FROM_JSON = Reading(
    "CASE WHEN " + _LONG_NUMBER + """ THEN '"not jsonb"'::jsonb WHEN regexp_replace({0}::text,"""
    r" '\\\\|\\u[dD][89abAB][0-9a-fA-F]{{2}}\\u[dD][c-fC-F][0-9a-fA-F]{{2}}', '', 'g')"
    r" ~ '\\u(0000|[dD][89a-fA-F])|[0-9][eE][+-]?[0-9]{{4}}'"
    """ THEN '"not jsonb"'::jsonb ELSE {0}::jsonb END""",
    note="read as jsonb; what that cannot hold is a text instead",
)
_MOMENTS = {
    "timestamp with time zone": _AS_IT_IS,
    "timestamp without time zone": Reading(note="read as UTC"),
}

READINGS: Mapping[Kind, Mapping[str, Reading]] = {
    Kind.KEY: {
        "smallint": _AS_IT_IS,
        "integer": _AS_IT_IS,
        "bigint": _AS_IT_IS,
        "numeric": Reading(
            "{0}::bigint",
            "({0} = trunc({0}) AND {0} BETWEEN -9223372036854775808 AND 9223372036854775807)",
            _NOT_WHOLE,
            _ROWS.format(misfit=_NOT_WHOLE),
            only_copied=True,
        ),
        "real": _FROM_FLOAT,
        "double precision": _FROM_FLOAT,
    },
    Kind.NUMBER: {
        "double precision": _AS_IT_IS,
        "real": _AS_IT_IS,
        "smallint": Reading("{0}::float8"),
        "integer": Reading("{0}::float8"),
        "bigint": Reading("{0}::float8", note="beyond 2^53 the nearest number of double precision"),
        "numeric": Reading(
            "{0}::float8",
            _WITHIN_DOUBLE,
            _BEYOND,
            f"the nearest number of double precision; {_ROWS.format(misfit=_BEYOND)}",
        ),
        "money": Reading("{0}::numeric::float8", note="the amount in its currency's unit"),
        "text": Reading(
            "{0}::float8",
            f"CASE WHEN {{0}} !~ {_WRITTEN_NUMBER} THEN false ELSE"
            " {0}::numeric = 0 OR abs({0}::numeric) BETWEEN 2.5e-324 AND 1.797693134862315807e308 END",
            "not a number of double precision",
            _ROWS.format(misfit="not written like a number"),
        ),
    },
    Kind.MOMENT: _MOMENTS,
    Kind.DAY: {"date": _AS_IT_IS},
    Kind.MOMENT_OR_DAY: {**_MOMENTS, "date": Reading("{0}::timestamptz", note="read as midnight UTC")},
    Kind.TEXT: {
        "text": _AS_IT_IS,
        "character": Reading("{0}::text", note="without the blanks at its end", only_copied=True),
        "enum": _AS_TEXT,
        "smallint": _AS_TEXT,
        "integer": _AS_TEXT,
        "bigint": _AS_TEXT,
        "uuid": _AS_TEXT,
    },
    Kind.JSON: {"jsonb": _AS_IT_IS, "json": _FROM_JSON},
    Kind.BOOLEAN: {
        "boolean": _AS_IT_IS,
        **dict.fromkeys(
            ("text", "character", "smallint", "integer", "bigint"),
            Reading(note="read strictly: true, t, yes, y, on, 1 or false, f, no, n, off, 0; anything else is an error"),
        ),
    },
}
