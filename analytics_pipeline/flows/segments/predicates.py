"""Segment rules as ClickHouse predicates over `identities AS i`, with every value of a rule as a bound parameter."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from flagsmith_sql_flag_engine import Binder, ClickHouseServerParamStyle, TranslateContext, translate_segment
from flagsmith_sql_flag_engine.dialects.clickhouse import ClickHouseDialect

from analytics_pipeline.flows.segments.source import Segment
from analytics_pipeline.flows.tenants import Environment
from analytics_pipeline.resources.clickhouse import quoted


class Untranslatable(Exception):
    """The segment's rules have no SQL that answers as the engine does; the text says what stands in the way."""


@dataclass(frozen=True)
class Predicate:
    """A boolean SQL expression and the values of its placeholders."""

    sql: str
    parameters: dict[str, str]


class Dialect(ClickHouseDialect):
    """The library's dialect with what its own leaves open."""

    def _sub(self, alias: str, trait_key: str) -> str:
        # ClickHouse reads backslash escapes inside backticks, so a key could otherwise end its own quotation.
        return f"{alias}.traits.{quoted(trait_key)}"

    def trait_eq(self, alias: str, trait_key: str, value: object, negate: bool, binder: Binder | None = None) -> str:
        # FALSE OR NULL is NULL, and NOT NULL matches nobody: a NONE rule would lose everybody.
        return f"ifNull({super().trait_eq(alias, trait_key, value, negate, binder)}, false)"

    def trait_in(self, alias: str, trait_key: str, items: list[str], binder: Binder | None = None) -> str:
        return f"ifNull({super().trait_in(alias, trait_key, items, binder)}, false)"


def translate(segment: Segment, environments: Sequence[Environment]) -> Predicate:
    """The segment's predicate for rows of these environments.

    Conditions on `$.environment.*` hold for the row's own environment: such a segment has a branch for each.

    Raises:
        Untranslatable: the rules use what SQL cannot say.
    """
    try:
        if any(_reads_environment(rule) for rule in segment.rules):
            return _branches(segment, environments)
        binder = _binder(f"s{segment.id}_")
        return Predicate(_translate(segment, environments[0], binder), binder.params)
    except (AssertionError, AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise Untranslatable(f"its rules are malformed ({type(error).__name__}: {error})") from error


def _branches(segment: Segment, environments: Sequence[Environment]) -> Predicate:
    parameters: dict[str, str] = {}
    branches = []
    for environment in environments:
        binder = _binder(f"s{segment.id}_e{environment.id}_")
        branch = f"i.environment_id = {binder.add(environment.key)} AND ({_translate(segment, environment, binder)})"
        branches.append(f"({branch})")
        parameters |= binder.params
    return Predicate(" OR ".join(branches), parameters)


def _translate(segment: Segment, environment: Environment, binder: Binder) -> str:
    context = TranslateContext(
        evaluation_context={"environment": {"key": environment.key, "name": environment.name}},
        dialect=Dialect(),
        binder=binder,
    )
    sql = translate_segment(segment.context, context)
    if sql is None:
        raise Untranslatable("it uses an operator, path or regular expression that has no SQL form")
    return sql


def _binder(prefix: str) -> Binder:
    return Binder(ClickHouseServerParamStyle(), prefix)


def _reads_environment(rule: dict[str, Any]) -> bool:
    return any(path.startswith("$.") and not path.startswith("$.identity") for path in _properties(rule))


def _properties(rule: dict[str, Any]) -> Iterator[str]:
    for condition in rule.get("conditions") or []:
        yield condition.get("property") or ""
    for nested in rule.get("rules") or []:
        yield from _properties(nested)
