"""One condition of a segment as SQL that says exactly what the engine says, or the reason why there is none."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flag_engine.segments.evaluator import is_context_in_segment

from analytics_pipeline.flows.segments.errors import Inexact, Unsupported
from analytics_pipeline.flows.segments.translation import operators, patterns
from analytics_pipeline.flows.segments.translation.operators import SYMBOLS, VERSION_SUFFIX
from analytics_pipeline.flows.segments.translation.properties import Property, read_property
from analytics_pipeline.flows.segments.translation.subjects import Guard, Subject, column, shadow_guard, trait
from analytics_pipeline.flows.tenants import Environment

_NO_GUARDS: frozenset[Guard] = frozenset()
# A text that holds another character reads as no number.
_NUMBER_CHARACTERS = frozenset("-.0123456789")


@dataclass(frozen=True)
class Sql:
    """A boolean expression that is never null, and the aggregates that must be 0 for it to be exact."""

    text: str
    guards: frozenset[Guard] = _NO_GUARDS


@dataclass(frozen=True)
class Translator:
    """Translates the conditions of one segment for the identities of one environment."""

    segment_key: str
    environment: Environment
    bound: Callable[[str], str]

    def condition(self, condition: Mapping[str, Any]) -> Sql:
        """The condition in SQL.

        Raises:
            Inexact: there is no SQL for it.
        """
        operator, value = condition["operator"], condition.get("value")
        text = condition["property"]
        if operator == "PERCENTAGE_SPLIT" and not text:
            return self._split(column("identity_key"), value, _NO_GUARDS)
        found = read_property(text)
        sql = self._found(found, operator, value, condition)
        if not found.path:
            return sql
        return Sql(sql.text, sql.guards | {shadow_guard(text)})

    def _found(self, found: Property, operator: str, value: Any, condition: Mapping[str, Any]) -> Sql:
        if found.kind in ("inside", "several", "unseen"):
            raise Inexact("it uses a path into the identity that has no column")
        if found.kind == "constant":
            return Sql(str(self._constant(condition)).lower())
        subject = trait(found.key) if found.kind == "trait" else column(found.kind)
        sql = self._operator(subject, operator, value)
        guards = sql.guards | subject.guards
        if found.path and operator in ("IS_SET", "IS_NOT_SET"):
            guards |= subject.structure_guards  # at the end of a JSONPath the engine reads no list or map
        return Sql(sql.text, guards)

    def _constant(self, condition: Mapping[str, Any]) -> bool:
        """The engine's answer for any identity of the environment."""
        context: Any = {
            "environment": {"key": self.environment.key, "name": self.environment.name},
            "identity": {"identifier": "", "key": "", "traits": {}},
        }
        segment: Any = {"key": self.segment_key, "rules": [{"type": "ALL", "conditions": [condition]}]}
        try:
            return is_context_in_segment(context, segment)
        except Exception as error:
            raise Inexact(f"the engine raises {type(error).__name__}: {error}") from error

    def _operator(self, subject: Subject, operator: str, value: Any) -> Sql:
        if operator == "IS_SET":
            return Sql(subject.is_set)
        if operator == "IS_NOT_SET":
            return Sql(f"NOT {subject.is_set}")
        if operator == "IN":
            return Sql(*operators.contained_in(subject, value, self.bound))
        if operator == "PERCENTAGE_SPLIT":
            return self._split(subject, value, subject.printed_guards)
        if not isinstance(value, str):
            raise Inexact("its value is not a text")
        if operator in SYMBOLS:
            return self._compare(subject, operator, value)
        if operator == "MODULO":
            return Sql(*operators.modulo(subject, value))
        return self._text_operator(subject, operator, value)

    def _compare(self, subject: Subject, operator: str, value: str) -> Sql:
        sql = operators.compare(subject, operator, value, self.bound)
        if operator == "EQUAL" and not operators.looks_structured(value):
            return Sql(sql)
        return Sql(sql, subject.structure_guards)

    def _text_operator(self, subject: Subject, operator: str, value: str) -> Sql:
        if operator == "REGEX":
            return self._regex(subject, value)
        if operator == "CONTAINS" and not value.endswith(VERSION_SUFFIX):
            holder = subject.words if set(value) <= _NUMBER_CHARACTERS else subject.is_text
            return Sql(f"{holder} AND {self._position(subject, value)}", subject.structure_guards)
        if operator == "NOT_CONTAINS":
            return Sql(f"{subject.words} AND NOT {self._position(subject, value)}", subject.structure_guards)
        raise Inexact(f"SQL does not know {operator} {value!r}")

    def _position(self, subject: Subject, value: str) -> str:
        return f"(position({subject.text}, {self.bound(value)}) > 0)" if value else "true"

    def _regex(self, subject: Subject, value: str) -> Sql:
        try:
            pattern = patterns.re2(value)
        except Unsupported as error:
            raise Inexact(f"its regular expression has no equal in SQL: {error}") from error
        return Sql(f"{subject.is_set} AND match({subject.printed}, {self.bound(pattern)})", subject.printed_guards)

    def _split(self, subject: Subject, value: Any, guards: frozenset[Guard]) -> Sql:
        try:
            threshold = float(value)
        except ValueError:
            return Sql("false")
        except TypeError as error:
            raise Inexact("its percentage is no number") from error
        split, guard = operators.percentage_split(self.segment_key, threshold, subject.printed, self.bound)
        return Sql(f"{subject.is_set} AND ({split})", guards | {guard})
