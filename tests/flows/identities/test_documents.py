"""The mapping of identity documents to rows."""

import json
from collections.abc import Callable
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from boto3.dynamodb.types import TypeSerializer
from hypothesis import given
from hypothesis import strategies as st

from analytics_pipeline.flows.identities.attributes import AttributeValue, exact_number, number
from analytics_pipeline.flows.identities.documents import Document, RowMapper, document_of
from analytics_pipeline.flows.identities.errors import Unmappable
from analytics_pipeline.flows.tenants import Environment
from tests.flows.identities.wire import Wire, digits, tables
from tests.flows.segments.differential import own_value
from tests.product import KEY, document

ENVIRONMENT = Environment(100, KEY, "Production", 10, 1)
CAPTURED = datetime(2026, 3, 1, 12, 30, 45, 678_901, tzinfo=timezone.utc)


def mapper() -> RowMapper:
    return RowMapper(ENVIRONMENT, date(2026, 3, 1), CAPTURED)


def wire(item: dict[str, Any]) -> Document:
    """The document as DynamoDB sends it, decoded as the reader decodes it."""
    serialised = {key: TypeSerializer().serialize(value) for key, value in item.items()}
    return msgspec.json.decode(msgspec.json.encode(serialised), type=Document)


def test_row__whole_document__has_every_column() -> None:
    row = msgspec.json.decode(msgspec.json.encode(mapper().row(wire(document("alice", plan="pro")))))

    assert row == {
        "snapshot_date": "2026-03-01",
        "project_id": 10,
        "environment_id": KEY,
        "identifier": "alice",
        "identity_key": f"{KEY}_alice",
        "traits": {"plan": "pro"},
        "structured_traits": [],
        "traits_format": 2,
        "inserted_at": "2026-03-01 12:30:45.678",
    }


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("2024-01-01T10:00:00Z", '"2024-01-01T10:00:00Z"'),
        ("", '""'),
        (True, "true"),
        (None, "null"),
        (42, "42"),
        (2**63 - 1, "9223372036854775807"),
        (-(2**63), "-9223372036854775808"),
        (2**63, '"9223372036854775808"'),
        (-(2**63) - 1, '"-9223372036854775809"'),
        (Decimal("1E+20"), '"100000000000000000000"'),
        (Decimal("1.0"), "1"),
        (Decimal("0.12345678901234567890123456789012345678"), "0.12345678901234567890123456789012345678"),
        (Decimal("-2.50"), "-2.50"),
        (["a", {"b": Decimal("1.5")}], r'"[\"a\",{\"b\":1.5}]"'),
        ([True, 1, 2**63, Decimal("1E+20")], '"[true,1,9223372036854775808,100000000000000000000]"'),
        ({}, '"{}"'),
    ],
)
def test_traits__value__is_written_with_its_own_digits(value: Any, written: str) -> None:
    row = mapper().row(wire(document("alice", x=value)))

    assert msgspec.json.encode(row.traits).decode() == f'{{"x":{written}}}'


def test_traits__key_repeated__last_wins() -> None:
    item = document("alice")
    item["identity_traits"] = [{"trait_key": "x", "trait_value": n} for n in (1, 2, 3)]

    assert mapper().row(wire(item)).traits == {"x": 3}


def test_traits__system_traits__overlay_identity_traits() -> None:
    item = document("alice", plan="free", country="DE") | {"system_traits": {"plan": "pro", "cohort": True}}

    assert mapper().row(wire(item)).traits == {"plan": "pro", "country": "DE", "cohort": True}


def test_traits__no_value__is_null() -> None:
    item = document("alice") | {"identity_traits": [{"trait_key": "x"}]}

    assert mapper().row(wire(item)).traits == {"x": None}


@pytest.mark.parametrize("absent", [{"identity_traits": None}, {"identity_traits": []}, {}])
def test_traits__none_at_all__row_without_traits(absent: dict[str, Any]) -> None:
    item = {key: value for key, value in document("alice").items() if key != "identity_traits"} | absent

    assert mapper().row(wire(item)).traits == {}


@pytest.mark.parametrize(("django_id", "key"), [(None, f"{KEY}_alice"), (4711, "4711")])
def test_identity_key__django_id__wins_over_composite_key(django_id: int | None, key: str) -> None:
    assert mapper().row(wire(document("alice") | {"django_id": django_id})).identity_key == key


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"identifier": None}, "identifier is not a text"),
        ({"identifier": 42}, "identifier is not a text"),
        ({"identifier": "x" * 1025}, "identifier is longer than 1024 characters"),
        ({"composite_key": None}, "composite_key is not a text"),
        ({"environment_api_key": "other"}, "environment_api_key is not the environment it was read for"),
        ({"identity_traits": "x"}, "identity_traits is not a list"),
        ({"identity_traits": ["x"]}, "identity_traits holds an entry without a trait_key"),
        ({"identity_traits": [{"trait_value": 1}]}, "identity_traits holds an entry without a trait_key"),
        ({"identity_traits": [{"trait_key": "x", "trait_value": b"x"}]}, "a trait holds binary data or a set"),
        ({"identity_traits": [{"trait_key": "x", "trait_value": {"x"}}]}, "a trait holds binary data or a set"),
    ],
)
def test_row__document_cannot_be_mapped__says_why(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unmappable, match=f"^{reason}$"):
        mapper().row(wire(document("alice") | change))


@pytest.mark.parametrize("digits", ["NaN", "Infinity", "1E+999999999", "1, 2", "", "0x10", "1e"])
def test_traits__number_is_none__is_refused(digits: str) -> None:
    item = wire(document("alice")) | {"system_traits": AttributeValue(M={"x": AttributeValue(N=digits)})}

    with pytest.raises(Unmappable, match="number"):
        mapper().row(item)


def test_row__identifier_twice__second_is_refused() -> None:
    rows = mapper()
    rows.row(wire(document("alice")))

    with pytest.raises(Unmappable, match="same identifier"):
        rows.row(wire(document("alice")))


plain = st.recursive(
    st.none() | st.booleans() | st.text() | st.integers(-(10**37), 10**37) | st.decimals(-(10**9), 10**9, places=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(traits=st.dictionaries(st.text(min_size=1), plain, max_size=5))
def test_traits__any_values__come_back_as_the_product_reads_them(traits: dict[str, Any]) -> None:
    item = document("alice")
    item["identity_traits"] = [{"trait_key": key, "trait_value": value} for key, value in traits.items()]

    line = msgspec.json.encode(mapper().row(wire(item)))

    assert b"\n" not in line
    row = json.loads(line)
    structured = {key for key, value in traits.items() if isinstance(value, list | dict)}
    assert set(row["structured_traits"]) == structured
    decoded = {key: json.loads(value) if key in structured else value for key, value in row["traits"].items()}
    assert decoded == {key: _expected(value) for key, value in traits.items()}


def _expected(value: Any) -> Any:
    own = own_value(value)
    return str(own) if isinstance(own, int) and not -(2**63) <= own < 2**63 else own


@given(digits=digits)
def test_number__any_digits__is_what_decimal_makes_of_them(digits: str) -> None:
    assert _outcome(number, digits) == _outcome(exact_number, digits)


@given(table=tables(), missing=st.sampled_from([None, "composite_key", "environment_api_key", "identifier"]))
def test_read__any_documents__rows_and_reasons_are_those_of_whole_documents(
    table: list[Wire], missing: str | None
) -> None:
    stored = [msgspec.Raw(msgspec.json.encode({k: v for k, v in item.items() if k != missing})) for item in table]
    quick, whole = mapper(), mapper()

    assert [_outcome(quick.read, item) for item in stored] == [
        _outcome(whole.row, document_of(item)) for item in stored
    ]


def _outcome(function: Callable[[Any], Any], argument: object) -> bytes | str:
    """What comes out as the landing zone holds it, or why nothing does."""
    try:
        return msgspec.json.encode(function(argument))
    except Unmappable as error:
        return str(error)
