"""Whatever one segment does, the others of its project have their counts."""

from collections.abc import Mapping
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from analytics_pipeline.flows.segments.counting import count_segments
from analytics_pipeline.flows.segments.engine.fallback import SECONDS_TO_STORE
from analytics_pipeline.flows.segments.sampling.compare import compare
from analytics_pipeline.flows.segments.source import Segment
from analytics_pipeline.flows.segments.translation.conditions import Sql, Translator
from analytics_pipeline.flows.tenants import Environment
from analytics_pipeline.resources.deadline import Deadline
from tests.flows.segments.differential import DAY, Person, count, load
from tests.product import ENVIRONMENT, Product, condition, document, today
from tests.thorough import THOROUGH, rarely


def _rule(conditions: list[dict[str, Any]], kind: str = "ALL") -> list[dict[str, Any]]:
    return [{"type": kind, "conditions": conditions, "rules": []}]


def _condition(operator: str, name: object, value: object) -> dict[str, Any]:
    return {"operator": operator, "property": name, "value": value}


def _nested(levels: int) -> list[dict[str, Any]]:
    rules = condition("EQUAL", "plan", "pro")
    for _ in range(levels):
        rules = [{"type": "ALL", "conditions": [], "rules": rules}]
    return rules


_TRUE = True
_BAD: dict[str, Any] = {
    "property_number": condition("EQUAL", 5, "x"),  # type: ignore[arg-type]
    "property_list": _rule([_condition("EQUAL", ["plan"], "x")]),
    "property_map": _rule([_condition("EQUAL", {"plan": 1}, "x")]),
    "property_true": _rule([_condition("PERCENTAGE_SPLIT", _TRUE, 50)]),
    "rules_are_a_map": {"type": "ALL"},
    "rules_are_a_number": 5,
    "rule_is_a_text": ["ALL"],
    "conditions_are_a_number": [{"type": "ALL", "conditions": 5}],
    "type_is_a_list": [{"type": ["ALL"], "conditions": []}],
    "operator_is_a_map": _rule([_condition({}, "plan", "x")]),  # type: ignore[arg-type]
    "nested_300_levels": _nested(300),
    "nested_95_levels": _nested(95),
    "key_of_200_kB": condition("EQUAL", "k" * 200_000, "x"),
    "expression_of_200_kB": condition("REGEX", "plan", "(a|b)" * 40_000),
    "value_of_200_kB": condition("EQUAL", "plan", "v" * 200_000),
}


# All of them at once, and each as the only one.
@pytest.mark.parametrize("names", [tuple(_BAD), *rarely(*(((name,),) for name in _BAD))], ids=lambda names: names[0])
def test_counts__segment_that_nobody_can_read__does_not_disturb_the_others(
    product: Product, names: tuple[str, ...]
) -> None:
    product.put(document("alice", plan="pro"), document("bob", plan="free"))
    product.add_segment(2, condition("REGEX", "plan", "(?=pro)"))
    for number, name in enumerate(names, start=3):
        product.add_segment(number, [])
        product.execute("UPDATE segments SET rules = %s WHERE id = %s", Jsonb(_BAD[name]), number)

    assert product.materialise().success

    counts = product.history()
    assert (counts.pop((1, ENVIRONMENT)), counts.pop((2, ENVIRONMENT))) == ((1, "counted"), (1, "fallback"))
    assert len(counts) == len(names)
    assert set(counts.values()) <= {(None, "failed"), (1, "counted"), (0, "fallback"), (1, "fallback")}
    assert compare(product.clickhouse, product.postgres, today(), "another run").found == []


def test_counts__thousands_of_conditions_and_long_keys__all_have_the_right_count(empty_product: Product) -> None:
    """Their statements would have megabytes."""
    people = [Person("alice", {"plan": "pro", "k7": "v7", "x" * 180 + "0-5": "ab"}), Person("bob", {"plan": "free"})]
    load(empty_product.clickhouse, people)
    size = 10 if THOROUGH else 1
    many = _rule([_condition("EQUAL", f"k{n}", f"v{n}") for n in range(300 * size)], "ANY")
    hostile = [
        _rule([_condition("REGEX", f"{'x' * 180}{number}-{n}", "(?=a)") for n in range(10 * size)], "ANY")
        for number in range(12)
    ]
    plain = [condition("EQUAL", "plan", "pro"), condition("EQUAL", "plan", f"{'é' * 500}")]
    segments = [Segment(number, "s", rules) for number, rules in enumerate([many, *hostile, *plain], start=1)]

    counts = {
        number: [one.count for one in found]
        for number, found in count(empty_product.clickhouse, people, segments).items()
    }

    members = {1: [1, 0], 2: [1, 0], 14: [1, 0]}
    assert counts == {number: members.get(number, [0, 0]) for number in range(1, 16)}


def test_counts__more_environments_than_a_parameter_takes__each_has_its_count(empty_product: Product) -> None:
    people = [Person(f"person-{n}", {"plan": "pro" if n % 3 else "free"}) for n in range(3)]
    load(empty_product.clickhouse, people)
    environments = [
        Environment(100 + n, f"env-{n}" + ("-" * 60 if n > 2 else ""), f"Name {n % 3}", 10, 1) for n in range(2_000)
    ]
    segments = [
        Segment(1, "s", condition("EQUAL", "plan", "pro")),
        Segment(2, "s", condition("EQUAL", "$.environment.name", "Name 1")),
    ]

    found = count_segments(empty_product.clickhouse, DAY, segments, environments)

    counts = {(one.segment_id, one.environment.id): one.count for one in found}
    assert len(counts) == 4_000
    assert {pair for pair, number in counts.items() if number} == {(1, 101), (1, 102), (2, 101)}


def test_counts__heavy_segment_takes_too_long__it_alone_is_unknown(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(empty_product.clickhouse, [Person(f"person-{n}", {"plan": "pro"}) for n in range(5)])
    environments = [Environment(100 + n, f"env-{n}", "Name", 10, 1) for n in range(5)]
    right = Translator.condition

    def slow(self: Translator, condition: Mapping[str, Any]) -> Sql:
        sql = right(self, condition)
        return Sql(f"sleepEachRow(0.6) = 0 AND ({sql.text})", sql.guards) if condition["property"] == "slow" else sql

    monkeypatch.setattr(Translator, "condition", slow)
    limited = empty_product.clickhouse.limited(Deadline.after(SECONDS_TO_STORE + 1, "the time is over"))
    heavy = _rule([_condition("REGEX", "slow", f"p{n}") for n in range(150)], "ANY")
    segments = [Segment(1, "s", heavy), Segment(2, "s", condition("EQUAL", "plan", "pro"))]

    found = count_segments(limited, DAY, segments, environments)

    assert {(one.segment_id, one.count, one.status) for one in found} == {(2, 1, "counted"), (1, None, "failed")}
