"""What the engine judges is the document's own value, whatever the layers between do to it."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics_pipeline.flows.segments.engine.judge import read_value
from analytics_pipeline.flows.segments.engine.rows import pages
from tests.flows.segments.differential import DAY, Person, environments_of, load, own_value
from tests.product import Product, document
from tests.thorough import rarely

_ODD_TEXTS = ("", "[1]", "{}", "null", "true", "1", "2024-01-01T10:00:00Z", "a.b", "\\", '"', "\x00", "💥")
_texts = st.sampled_from(_ODD_TEXTS) | st.text(st.characters(codec="utf-8"), max_size=5)
_numbers = st.one_of(
    st.integers(-(10**37), 10**37),
    st.sampled_from((2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**30)),
    st.decimals(-(10**9), 10**9, places=9),
    st.sampled_from(("1E-130", "1.5E-7", "0.1", "0.12345678901234567890123456789", "9.9E+120")).map(Decimal),
)
_scalars = st.none() | st.booleans() | _texts | _numbers
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=8,
)
_keys = st.sampled_from(("a", "a.b", "a.b.c", ".", "a.", ".a", "a..b", "b", "ключ", "a b", "null"))


def _judged(product: Product, people: list[Person]) -> list[dict[str, Any]]:
    """The traits that the judge sees of each person."""
    keys = sorted({key for person in people for key in person.traits})
    rows = [row for page in pages(product.clickhouse, DAY, environments_of(people), keys) for row in page]
    by_environment = {row[0]: {key: read_value(kind, text) for key, kind, text in row[3]} for row in rows}
    return [by_environment[environment.key] for environment in environments_of(people)]


def _own(traits: Mapping[str, Any]) -> dict[str, Any]:
    """The document's own values; at the top the engine reads the digits of a large int as that int."""
    own = {key: own_value(value) for key, value in traits.items() if value is not None}
    return {
        key: str(value) if type(value) is int and not -(2**63) <= value < 2**63 else value for key, value in own.items()
    }


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(traits=st.lists(st.dictionaries(_keys, _values, max_size=4), min_size=20, max_size=20))
def test_rows__any_values__are_judged_as_the_document_holds_them(
    empty_product: Product, traits: list[dict[str, Any]]
) -> None:
    people = [Person(f"person-{n}", one) for n, one in enumerate(traits)]
    load(empty_product.clickhouse, people)

    judged = _judged(empty_product, people)

    # Python's text of a value tells True from 1, 1 from 1.0, and is what the engine reads of a list or a map.
    assert [_sorted_text(one) for one in judged] == [_sorted_text(_own(person.traits)) for person in people]


def _sorted_text(traits: Mapping[str, Any]) -> str:
    return repr(sorted(traits.items()))


@pytest.mark.parametrize(
    "value", [[True, 1], *rarely(["a", True], ["", False], [2**63]), {"a": {"b": [Decimal("1.5"), None]}}]
)
def test_rows__through_every_store__hold_the_documents_own_value(product: Product, value: Any) -> None:
    product.put(document("alice", k=value))
    printed = str(own_value(value))
    product.add_segment(
        2, [{"type": "ALL", "conditions": [{"operator": "EQUAL", "property": "k", "value": printed}], "rules": []}]
    )
    product.add_segment(
        3, [{"type": "ALL", "conditions": [{"operator": "IS_SET", "property": "k", "value": ""}], "rules": []}]
    )

    assert product.materialise().success

    assert [product.history()[number, 100] for number in (2, 3)] == [(1, "fallback"), (1, "counted")]
