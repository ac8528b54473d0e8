"""Dead letters: stored whatever they hold, replaced unit by unit."""

from datetime import datetime

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_pipeline.flows.dead_letters import DeadLetter, replace_dead_letters
from tests.product import Product
from tests.thorough import on_engines


def _letters(product: Product, *columns: str) -> list[tuple[object, ...]]:
    return product.execute(f"SELECT {', '.join(columns)} FROM analytics_pipeline.dead_letters ORDER BY id")


def test_replace__letters__are_stored_with_unit_and_run(empty_product: Product) -> None:
    replace_dead_letters(empty_product.postgres, "identities", "u1", [DeadLetter("k", "why", "{}")], "run-1")

    ((recorded_at, *rest),) = _letters(
        empty_product, "recorded_at", "flow", "unit", "record_key", "reason", "payload", "run_id"
    )
    assert rest == ["identities", "u1", "k", "why", "{}", "run-1"]
    assert isinstance(recorded_at, datetime)


def test_replace__again__only_the_units_own_are_replaced(empty_product: Product) -> None:
    store = empty_product.postgres
    for flow, unit in (("identities", "u1"), ("identities", "u2"), ("other", "u1")):
        replace_dead_letters(store, flow, unit, [DeadLetter("a", "old", ""), DeadLetter("b", "old", "")], "run-1")

    replace_dead_letters(store, "identities", "u1", [DeadLetter("c", "new", "")], "run-2")
    replace_dead_letters(store, "identities", "u2", [], "run-2")

    assert _letters(empty_product, "flow", "unit", "record_key", "reason", "run_id") == [
        ("other", "u1", "a", "old", "run-1"),
        ("other", "u1", "b", "old", "run-1"),
        ("identities", "u1", "c", "new", "run-2"),
    ]


def test_replace__storing_fails__earlier_letters_stay(empty_product: Product) -> None:
    store = empty_product.postgres
    replace_dead_letters(store, "identities", "u1", [DeadLetter("a", "old", "")], "run-1")

    with pytest.raises(psycopg.DataError, match="NUL"):
        replace_dead_letters(store, "identities", "u1", [DeadLetter("b", "new", "")], "run\x00")

    assert _letters(empty_product, "record_key") == [("a",)]


def test_replace__hostile_texts__are_stored_readably(empty_product: Product) -> None:
    stored = {
        "a\x00b": "a\\u0000b",
        "\ud800": "\\ud800",
        "x\udfff\x00": "x\\udfff\\u0000",
        "\U0001f600 é \u202e \t\n\\": "\U0001f600 é \u202e \t\n\\",
        "'; DROP TABLE t; --%s{}": "'; DROP TABLE t; --%s{}",
        "x" * 1_000_000: "x" * 1_000_000,
    }
    letters = [DeadLetter(text, text, text) for text in stored]

    replace_dead_letters(empty_product.postgres, "identities", "u1", letters, "run-1")

    assert _letters(empty_product, "record_key", "reason", "payload") == [(text,) * 3 for text in stored.values()]


@on_engines(30)
@given(text=st.text(alphabet=st.characters(categories=None, exclude_categories=[])))
def test_replace__any_text__is_stored(empty_product: Product, text: str) -> None:
    replace_dead_letters(empty_product.postgres, "identities", "any", [DeadLetter(text, text, text)], "run-1")

    ((payload,),) = _letters(empty_product, "payload")
    assert payload == text.replace("\x00", "\\u0000").encode("utf-8", "backslashreplace").decode()
