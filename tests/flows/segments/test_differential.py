"""Whatever identities and segments there are: the pipeline counts what the engine says, or says that it cannot."""

import os
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from analytics_pipeline.flows.segments.source import Segment
from tests.flows.segments.differential import Person, count, differences
from tests.product import Product
from tests.thorough import THOROUGH

# Values that some layer between DynamoDB and the predicate could take for something else.
_TEXTS = (
    *(
        "",
        "pro",
        "a",
        "ab",
        "A",
        "é",
        "日本",
        "💥",
        "\n",
        "a\nb",
        "\x00",
        "%",
        "100%",
        "it's",
        '"q"',
        "\\",
        "`tick`",
        "a,b",
    ),
    *("42", "042", "-0", "0", "007", "+5", " 5", "5\n", "1_0", "٣", "--1", "-", "1e5", "inf", "nan", "None", "null"),
    *("1.5", "1.50", "01.5", "1.0", "-2.0", "5.", ".5", "0.00001", "9223372036854775808", "00018446744073709551616"),
    *("true", "false", "True", "False", "[1, 2]", '["a"]', "{}", "2024-01-01", "2024-01-01T10:00:00Z"),
    *("1.2.3", "1.2.4-rc.1", "1.2.3+b", "01.2.3", "1.10.0", "v1.2.3", "1.2.3\n", "99999999999999999999.0.0"),
)
_NUMBERS = (0, 1, -1, 2, 42, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 10**30)
_FRACTIONS = (
    "0.1",
    "1.5",
    "4.5",
    "-0.5",
    "0.99999999999999999999999",
    "12345678901234567890.5",
    "1E-130",
    "1E+30",
    "-0.0",
)
_KEYS = (
    "plan",
    "a.b",
    "a",
    "",
    "a`b",
    "a\\",
    "100%",
    "ключ",
    "a b",
    "$.identity.identifier",
    "$.x",
    "$x",
    "^a",
    "null",
    "a.",
    ".a",
    "a..b",
    ".",
    "a.b.c",
)

_OPERANDS = (
    *("2|0", "2|1", "3|-1", "-3|-1", "2.0|1.0", "2|0.5", "0|0", "|", "2|1|0", "1e3|5", "a,b,42", '["a","42"]', "[a"),
    *("1.2.3:semver", "1.2.3-rc:semver", "1.2.3+x:semver", ":semver", "x:semver", "50", "99.99", "-1", "200"),
    *("^a", ".*", "a.b", r"\d+", r"\w", r"\s", r"^\d{3}$", "(a|b)c?", "[a-z]+$", r"a\Z", "[^a]", "(", "a{1001}", "a++"),
    *("(?>a)", r"(a)\1", "(?i)A", "(?=a)", r"\bfoo", "a|b$", r"[\d.]+", "[]a]", "(a*)*", "T", r"-?\d+\.\d$"),
)
_OPERATORS = (
    *(
        "EQUAL",
        "NOT_EQUAL",
        "GREATER_THAN",
        "GREATER_THAN_INCLUSIVE",
        "LESS_THAN",
        "LESS_THAN_INCLUSIVE",
        "IN",
        "REGEX",
    ),
    *("CONTAINS", "NOT_CONTAINS", "MODULO", "PERCENTAGE_SPLIT", "IS_SET", "IS_NOT_SET", "UNKNOWN"),
)

_text = st.sampled_from(_TEXTS) | st.text(st.characters(codec="utf-8"), max_size=6)
_value = st.one_of(
    _text,
    st.none(),
    st.booleans(),
    st.sampled_from(_NUMBERS) | st.integers(-(2**70), 2**70),
    st.sampled_from(_FRACTIONS).map(Decimal) | st.decimals(-1000, 1000, places=3),
)
# Lists and maps, with the values and keys that ClickHouse's JSON would take for others.
_structured = st.recursive(
    st.lists(_value, max_size=3) | st.dictionaries(st.sampled_from(("b", "b.c", "")), _value, max_size=2),
    lambda inner: (
        st.lists(_value | inner, max_size=3) | st.dictionaries(st.sampled_from(("b", "c")), _value | inner, max_size=2)
    ),
    max_leaves=3,
)
_traits = st.dictionaries(st.sampled_from(_KEYS), _value | _value | _value | _structured, max_size=6)
_person = st.builds(
    Person, st.sampled_from([text for text in _TEXTS if text]) | st.just("p"), _traits, st.none() | st.integers(1)
)
_operand = st.one_of(
    st.sampled_from(_OPERANDS),
    st.sampled_from(_TEXTS),
    _text,
    st.integers(-50, 50).map(str),
    st.none() | st.booleans() | st.integers(0, 100) | st.lists(_text, max_size=3),
)
_property = st.sampled_from(
    (
        *_KEYS,
        "$.identity.key",
        "$.identity.traits.plan",
        "$.identity.traits.a.b",
        "$.identity.traits.a[0]",
        "$.identity",
        "$.environment.name",
        "$.identity.traits[?@ == 1]",
    )
)
_condition = st.fixed_dictionaries({"operator": st.sampled_from(_OPERATORS), "property": _property, "value": _operand})
_type = st.sampled_from(("ALL", "ANY", "NONE"))
_rule = st.recursive(
    st.fixed_dictionaries({"type": _type, "conditions": st.lists(_condition, min_size=1, max_size=2)}),
    lambda rules: st.fixed_dictionaries(
        {"type": _type, "conditions": st.lists(_condition, max_size=1), "rules": st.lists(rules, max_size=2)}
    ),
    max_leaves=3,
)


def _segments(rules: list[list[dict[str, Any]]]) -> list[Segment]:
    return [Segment(number, "s", rule) for number, rule in enumerate(rules, start=1)]


def _examples(count: int) -> settings:
    return settings(
        max_examples=count,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate),  # a difference names its segment and identity without being shrunk
        derandomize="ANALYTICS_TEST_RANDOM" not in os.environ,
        print_blob=False,
    )


def _differ(product: Product, people: list[Person], rules: list[list[dict[str, Any]]]) -> list[str]:
    # A segment that asks for the first of several, or for what no snapshot holds, is unknown, and never wrong.
    unknown = [rule for rule in rules if "[?" in repr(rule) or "$.x" in repr(rule)]
    found = differences(product.clickhouse, people, _segments([rule for rule in rules if rule not in unknown]))
    counts = count(product.clickhouse, people, _segments(unknown))
    return found + [
        f"{answer} is known" for answers in counts.values() for answer in answers if answer.count is not None
    ]


_people = st.lists(_person, min_size=30, max_size=30)
_rules = st.lists(st.lists(_rule, max_size=2), min_size=40, max_size=40)


@given(people=_people, rules=_rules)
@_examples(4)
def test_counts__any_identities_and_segments__equal_the_engine(
    empty_product: Product, people: list[Person], rules: list[list[dict[str, Any]]]
) -> None:
    assert _differ(empty_product, people, rules) == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
@given(people=_people, rules=_rules)
@_examples(100)
def test_counts__many_identities_and_segments__equal_the_engine(
    empty_product: Product, people: list[Person], rules: list[list[dict[str, Any]]]
) -> None:
    assert _differ(empty_product, people, rules) == []


def test_counts__every_operator_on_every_value__equal_the_engine(empty_product: Product) -> None:
    """Simple segments, so that SQL and not the engine counts most of them; `make test` counts every seventh."""
    people = [Person(f"p{n}", {"k": value}) for n, value in enumerate(_simple_values())]
    people += [Person(text, {}) for text in ("1.5", "42", "1.2.3", "a")]

    assert differences(empty_product.clickhouse, people, list(_simple_segments())[:: 1 if THOROUGH else 7]) == []


def _simple_values() -> Iterator[Any]:
    """Without the numbers that Python prints otherwise: one of them makes REGEX and PERCENTAGE_SPLIT fall back."""
    reprinted = ("042", "-0", "007", "1.50", "01.5", "0.00001", "00018446744073709551616")
    yield from (text for text in _TEXTS if text not in reprinted)
    yield from ([], ["a", True], [1, Decimal("1.5")], {}, {"a": {"b": 2**64}})
    yield from (None, True, False, 0, 1, -1, 42, Decimal("1.5"), Decimal("0.99999999999999999999999"), 2**63)


def _simple_segments() -> Iterator[Segment]:
    number = 0
    for operator in _OPERATORS:
        for operand in (*_OPERANDS, *_TEXTS):
            for name in ("k", "$.identity.identifier") if number % 5 == 0 else ("k",):
                number += 1
                kind = "NONE" if number % 2 else "ALL"
                condition = {"operator": operator, "property": name, "value": operand}
                yield Segment(number, "s", [{"type": kind, "conditions": [condition]}])
