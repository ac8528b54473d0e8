"""Segment rules as ClickHouse predicates over `identities AS i`, with every text of a rule as a bound parameter.

The rules are combined here and not by flagsmith-sql-flag-engine, whose conditions differ from the engine's in the cases
that `conditions` and `operators` name. A rule that SQL cannot say exactly has no predicate.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flagsmith_sql_flag_engine import Binder, ClickHouseServerParamStyle

from analytics_pipeline.flows.segments.errors import Inexact, Untranslatable
from analytics_pipeline.flows.segments.source import Segment
from analytics_pipeline.flows.segments.translation.conditions import Sql, Translator
from analytics_pipeline.flows.segments.translation.properties import read_property
from analytics_pipeline.flows.segments.translation.subjects import Guard
from analytics_pipeline.flows.tenants import Environment
from analytics_pipeline.resources.clickhouse.limits import PARAMETER_BYTES, STATEMENT_BYTES, size_of

_JOINS = {"ALL": " AND ", "ANY": " OR ", "NONE": " OR "}


@dataclass(frozen=True)
class Predicate:
    """A boolean SQL expression, the values of its placeholders, and what must be 0 for it to be exact."""

    sql: str
    parameters: Mapping[str, Any]
    guards: frozenset[Guard]

    @property
    def size(self) -> int:
        """Bytes in a statement."""
        return size_of(self.sql) + guards_size(self.guards)


def guards_size(guards: Iterable[Guard]) -> int:
    """Bytes of guards in a statement."""
    return sum(size_of(guard.sql) + 2 for guard in guards)


def translate(segment: Segment, environments: Sequence[Environment]) -> Predicate:
    """The segment's predicate for rows of these environments.

    Conditions on `$.environment.*` hold for the row's own environment: such a segment has a branch for each.

    Raises:
        Untranslatable: the rules use what SQL cannot say.
    """
    try:
        predicate = _predicate(segment, environments)
    except Inexact as error:
        raise Untranslatable(str(error)) from error
    except Exception as error:
        raise Untranslatable(f"its rules are malformed ({type(error).__name__}: {error})") from error
    if predicate.size > STATEMENT_BYTES:
        raise Untranslatable("it is too long for one statement")
    if any(size_of(text) > PARAMETER_BYTES for text in predicate.parameters.values() if isinstance(text, str)):
        raise Untranslatable("a text of it is too long for one statement")
    return predicate


def _predicate(segment: Segment, environments: Sequence[Environment]) -> Predicate:
    if not any(_reads_environment(rule) for rule in segment.rules):
        binder = _binder(f"s{segment.id}_")
        sql = _segment(segment, environments[0], binder)
        return Predicate(sql.text, binder.params, sql.guards)
    branches: dict[Sql, list[str]] = {}
    for environment in environments:
        # The same conditions with the same values, so the parameters of all branches have the same names and values.
        binder = _binder(f"s{segment.id}_")
        branches.setdefault(_segment(segment, environment, binder), []).append(environment.key)
    parameters: dict[str, Any] = dict(binder.params)
    texts = []
    for number, (sql, keys) in enumerate(branches.items()):
        parameters[f"s{segment.id}_environments{number}"] = keys
        texts.append(f"(i.environment_id IN {{s{segment.id}_environments{number}:Array(String)}} AND ({sql.text}))")
    return Predicate(" OR ".join(texts), parameters, frozenset().union(*(sql.guards for sql in branches)))


def _segment(segment: Segment, environment: Environment, binder: Binder) -> Sql:
    translator = Translator(segment.context["key"], environment, binder.add)
    return _joined(" AND ", [_rule(rule, translator) for rule in segment.rules]) if segment.rules else Sql("false")


def _rule(rule: dict[str, Any], translator: Translator) -> Sql:
    """As in `flag_engine.segments.evaluator.context_matches_rule`: conditions and nested rules are two groups."""
    join = _JOINS[rule["type"]]
    conditions = [translator.condition(condition) for condition in rule.get("conditions") or []]
    rules = [_rule(nested, translator) for nested in rule.get("rules") or []]
    groups = [_joined(join, group) for group in (conditions, rules) if group]
    if rule["type"] == "NONE":
        groups = [Sql(f"NOT ({group.text})", group.guards) for group in groups]
    return _joined(" AND ", groups) if groups else Sql("true")


def _joined(join: str, parts: Sequence[Sql]) -> Sql:
    return Sql(join.join(f"({part.text})" for part in parts), frozenset().union(*(part.guards for part in parts)))


def _binder(prefix: str) -> Binder:
    return Binder(ClickHouseServerParamStyle(), prefix)


def _reads_environment(rule: dict[str, Any]) -> bool:
    properties = [condition.get("property") or "" for condition in rule.get("conditions") or []]
    return any(read_property(text).kind == "constant" for text in properties) or any(
        _reads_environment(nested) for nested in rule.get("rules") or []
    )
