"""One pass over the benchmark's identities as one would write it by hand, who knows their traits and their types."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from analytics_pipeline.resources.clickhouse.client import ClickHouse
from benchmarks.workload import segments

_JOINED = {"ALL": "({})", "ANY": "({})", "NONE": "NOT ({})"}


def count_by_hand(warehouse: ClickHouse, day: date) -> dict[tuple[str, int], int]:
    """(environment's key, segment) to how many identities are in it."""
    columns = ", ".join(f"countIf({_predicate(segment.id, segment.rules[0])})" for segment in segments())
    rows = warehouse.query(
        f"SELECT environment_id, {columns} FROM identities FINAL WHERE snapshot_date = {{day:Date}}"
        " GROUP BY environment_id SETTINGS short_circuit_function_evaluation = 'disable'",
        day=day,
    )
    return {(key, number): count for key, *counts in rows for number, count in enumerate(counts, 1)}


def _predicate(segment: int, rule: Mapping[str, Any]) -> str:
    conditions = [f"ifNull({_condition(segment, **condition)}, false)" for condition in rule["conditions"]]
    return _JOINED[rule["type"]].format((" AND " if rule["type"] == "ALL" else " OR ").join(conditions))


def _condition(segment: int, operator: str, property: str, value: Any) -> str:  # noqa: A002 - the product's word
    text, number = f"traits.{property}.:String", f"traits.{property}.:Int64"
    if operator == "GREATER_THAN_INCLUSIVE":
        least = [int(part) for part in value.removesuffix(":semver").split(".")]
        return f"arrayMap(part -> toUInt32OrZero(part), splitByChar('.', ifNull({text}, ''))) >= {least}"
    if operator == "MODULO":
        divisor, remainder = value.split("|")
        return f"{number} % {divisor} = {remainder}"
    return {
        "EQUAL": f"traits.{property}.:Bool" if value == "true" else f"{text} = '{value}'",
        "NOT_EQUAL": f"{text} <> '{value}'",
        "IN": f"{text} IN splitByChar(',', '{value}')",
        "GREATER_THAN": f"{number} > {value}",
        "LESS_THAN_INCLUSIVE": f"traits.{property}.:Float64 <= {value}",
        "CONTAINS": f"position({text}, '{value}') > 0",
        "IS_SET": f"isNotNull({text})",
        "PERCENTAGE_SPLIT": _split(segment, value),
    }[operator]


def _split(segment: int, percent: int) -> str:
    """Who falls into the bucket of 100 percent is hashed again, with the ids twice over: one of ten thousand."""
    once = f"(reinterpretAsUInt128(reverse(MD5(concat('{segment},', identity_key)))) % 9999)"
    twice = f"(reinterpretAsUInt128(reverse(MD5(concat('{segment},', key, ',{segment},', key)))) % 9999)"
    again = f"arrayExists(key -> {twice} / 9998 * 100 <= {percent}, arrayResize([identity_key], {once} = 9998))"
    return f"({once} / 9998 * 100 <= {percent} OR {again})"
