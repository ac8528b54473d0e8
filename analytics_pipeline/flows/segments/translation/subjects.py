"""Subjects of conditions as SQL: one expression for each type that the engine may find in one.

The engine decides by the Python type of a value, and reads text first (`flag_engine.context.mappers`): digits alone
are an int, digits with a point between them a float. A row holds a trait as one JSON type of ClickHouse. So a value is
exactly one of nothing, Bool, Int64, Float64, text that reads as a whole number, as a fraction, or as neither.

An int beyond 64 bits is stored as its decimal text, which the engine reads as the same int. A list or a map is stored
as its JSON text, and the row names its key: the engine reads what Python prints of it, or nothing at the end of a
JSONPath. Rows of an earlier version hold a list as ClickHouse's JSON changed it, and a map as traits with dots in their
keys.
"""

import struct
from dataclasses import dataclass

from analytics_pipeline.flows.segments.errors import Inexact
from analytics_pipeline.resources.clickhouse.names import quoted

_NUMERIC = "^-?[0-9]+([.][0-9]+)?$"
# Python refuses to read an int of more digits, and the engine then raises.
_LONGEST_INT = 4300
# Longer keys are no keys of traits, and would fill a statement.
_LONGEST_KEY = 2000
# Facts about a group of rows that guards need, computed once for all of them.
GUARD_FACTS = (
    "distinctJSONPathsAndTypes(i.traits) AS kinds, groupUniqArrayArray(i.structured_traits) AS structured,"
    " countIf(i.traits_format < 2) AS earlier"
)
# Numbers that str() prints otherwise than they are written, and some that it does not.
_REPRINTED = "^-?(0[0-9]+([.][0-9]+)?|[0-9]{10,}[.][0-9]+|[0-9]+[.][0-9]{7,}|[0-9]+[.][0-9]+0|0[.][0-9]{5,})$|^-0$"
_SCALARS = "('String', 'Bool', 'Int64', 'Float64')"
# ClickHouse reads `.:` and its like before a backtick as syntax, even inside the quotation of a key.
_SYNTAX_BEFORE_BACKTICK = (":`", "^`", "@`", "]`")


FLATTENED = (
    "the snapshot was captured by an earlier version, which does not tell a map from traits whose keys hold dots"
)


@dataclass(frozen=True)
class Guard:
    """An aggregate that is 0 where SQL says what the engine says, and what it means when it is not."""

    sql: str
    reason: str


@dataclass(frozen=True)
class Subject:
    """A value of each row: a column, which is text, or the trait of a `key`, which may be of any type or null.

    `text` is never null; the expressions of the other types are null where the value is not of that type. A list or a
    map is text, that of its JSON.
    """

    text: str
    key: str | None = None

    @property
    def path(self) -> str | None:
        return None if self.key is None else trait_path(self.key)

    @property
    def is_set(self) -> str:
        return f"isNotNull({self.path})" if self.path else "true"

    @property
    def is_text(self) -> str:
        return f"isNotNull({self.path}.:String)" if self.path else "true"

    def typed(self, name: str) -> str | None:
        """The value where it is an Int64, a Float64 or a Bool."""
        return f"{self.path}.:{name}" if self.path else None

    @property
    def numeric(self) -> str:
        return f"match({self.text}, '{_NUMERIC}')"

    @property
    def whole(self) -> str:
        return f"({self.numeric} AND position({self.text}, '.') = 0)"

    @property
    def fraction(self) -> str:
        return f"({self.numeric} AND position({self.text}, '.') > 0)"

    @property
    def words(self) -> str:
        """Whether the value is text for the engine, too."""
        return f"({self.is_text} AND NOT {self.numeric})"

    @property
    def printed(self) -> str:
        """Python's str() of the value, as far as `printed_guards` reach."""
        if self.path is None:
            return self.text
        number = f"{self.path}.:Float64"
        parts = (
            self.text,
            f"ifNull(toString({self.path}.:Int64), '')",
            f"initcap(ifNull(toString({self.path}.:Bool), ''))",
            f"ifNull(concat(toString({number}), if({number} = trunc({number}), '.0', '')), '')",
        )
        return f"concat({', '.join(parts)})"  # one of them at most is not empty

    @property
    def guards(self) -> frozenset[Guard]:
        """The guard of every condition: the engine reads a text of digits before it looks at the operator."""
        if self.key is None:
            return frozenset()
        inside, key = literal(f"{self.key}."), literal(self.key)
        matches = f"startsWith(path, {inside})" + (f" OR path = {key}" if "." in self.key else "")
        return frozenset(
            {
                Guard(f"countIf(length({self.text}) > {_LONGEST_INT})", "a text may be too long for a number"),
                Guard(f"earlier > 0 AND arrayExists(path -> {matches}, mapKeys(kinds))", FLATTENED),
            }
        )

    @property
    def structure_guards(self) -> frozenset[Guard]:
        """Against lists and maps, which the engine reads as the text that Python prints of them."""
        if self.key is None:
            return frozenset()
        key = literal(self.key)
        found = f"has(structured, {key}) OR arrayExists(kind -> kind NOT IN {_SCALARS}, kinds[{key}])"
        return frozenset({Guard(found, "a trait that it reads holds a list or a map")})

    @property
    def printed_guards(self) -> frozenset[Guard]:
        reason = "Python prints a number that it reads in another way"
        guards = self.structure_guards | {Guard(f"countIf(match({self.text}, '{_REPRINTED}'))", reason)}
        if self.path is None:
            return guards
        size = f"abs({self.path}.:Float64)"
        return guards | {Guard(f"countIf({size} >= 1e16 OR ({size} < 1e-4 AND {size} > 0))", reason)}


def column(name: str) -> Subject:
    """A text column of `identities AS i`."""
    return Subject(f"i.{name}")


def trait(key: str) -> Subject:
    """The trait of that key.

    Raises:
        Inexact: SQL has no name for the key.
    """
    return Subject(f"ifNull({trait_path(key)}.:String, '')", key)


def trait_path(key: str) -> str:
    """The trait's path in the JSON column."""
    if not key or any(syntax in key for syntax in _SYNTAX_BEFORE_BACKTICK):
        raise Inexact(f"SQL has no name for the trait key {key!r}")
    if len(key) > _LONGEST_KEY:
        raise Inexact(f"the trait key {key[:50]!r}… is longer than {_LONGEST_KEY:,} characters")
    return f"i.traits.{quoted(key)}"


def shadow_guard(key: str) -> Guard:
    """Against a trait of that key, which the engine prefers to what the key says as a JSONPath."""
    return Guard(f"length(kinds[{literal(key)}])", f"an identity has a trait named {key!r}")


def literal(text: str) -> str:
    """The text as a literal of ClickHouse."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def float_literal(value: float) -> str:
    """The float bit by bit: no parser stands between the engine's number and ClickHouse's."""
    (bits,) = struct.unpack("<Q", struct.pack("<d", value))
    return f"reinterpret(toUInt64({bits}), 'Float64')"
