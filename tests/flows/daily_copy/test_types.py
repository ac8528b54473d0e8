"""Columns of other types: what ClickHouse holds is Postgres's own cast, or the row is refused with a reason."""

import struct
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql

from analytics_pipeline.flows.ai_usage.source import CODE_SUGGESTION_EVENTS, DUO_CHAT_EVENTS, SOURCES
from analytics_pipeline.flows.contract import WrongTypes
from analytics_pipeline.flows.daily_copy.copy import DayCopy
from analytics_pipeline.flows.daily_copy.ledger import DayState, between
from analytics_pipeline.flows.daily_copy.source import DaySource
from analytics_pipeline.flows.daily_copy.typed import as_found
from analytics_pipeline.flows.days import day_start, next_day
from analytics_pipeline.flows.reporting.source import REPORTING_EVENTS
from tests.flows.daily_copy.test_copy import DAY, NOON, add_event, copy, ledger, stored
from tests.product import Product
from tests.thorough import on_engines, rarely


def retype(product: Product, column: str, type_: str, relation: str = "reporting_events") -> None:
    """Give a column another type; what it holds is gone."""
    product.execute(f"ALTER TABLE {relation} ALTER COLUMN {column} DROP IDENTITY IF EXISTS")
    product.execute(f"ALTER TABLE {relation} ALTER COLUMN {column} TYPE {type_} USING NULL")


def letters(product: Product) -> list[tuple[str, str]]:
    rows = product.execute("SELECT record_key, reason FROM analytics_pipeline.dead_letters ORDER BY record_key::int")
    return [(key, reason) for key, reason in rows]


def bits(value: float | None) -> bytes | None:
    return None if value is None else struct.pack(">d", value)


NUMBERS: dict[str, list[str | None]] = {
    "numeric": [
        *("6.81", "0.1", "-1e-320", "5e-324", "1.7976931348623157e308", "NaN", "Infinity", "-Infinity", "0"),
        None,
    ],
    "numeric(20, 4)": ["6.81", "123456789012345.6789", "-0.0001"],
    "real": ["6.81", "1e-45", "3.4028235e38", "NaN", "-Infinity"],
    "bigint": ["9007199254740993", "-9223372036854775808", "9223372036854775807"],
    "smallint": ["-7"],
    "text": ["6.81", "+.5e3", "5.", "-0", "1e-310", None],
    "varchar(20)": ["12.5"],
}


def test_copy__number_of_another_type__is_postgres_own_cast_bit_for_bit(empty_product: Product) -> None:
    for type_, values in NUMBERS.items():
        empty_product.execute("TRUNCATE reporting_events")
        retype(empty_product, "value", type_)
        for number, value in enumerate(values):
            add_event(empty_product, id=number, value=value)

        copy(empty_product)

        cast = empty_product.execute("SELECT value::float8 FROM reporting_events ORDER BY id")
        assert [bits(value) for (value,) in stored(empty_product, "value")] == [bits(value) for (value,) in cast], type_
        assert letters(empty_product) == []


@on_engines(30)
@given(st.lists(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12), max_size=50))
def test_copy__any_numeric__is_postgres_own_cast_bit_for_bit(empty_product: Product, values: list[Any]) -> None:
    empty_product.execute("TRUNCATE reporting_events")
    empty_product.execute("ALTER TABLE reporting_events ALTER COLUMN value TYPE numeric")
    empty_product.execute(
        "INSERT INTO reporting_events (id, name, account_id, created_at, updated_at, value)"
        " SELECT number, 'first_response', 1, %s, %s, value"
        " FROM unnest(%s::numeric[]) WITH ORDINALITY AS _ (value, number)",
        *(NOON, NOON, values),
    )

    copy(empty_product)

    fitting = "value = 0 OR abs(value) >= 2.5e-324"
    cast = empty_product.execute(f"SELECT id, value::float8 FROM reporting_events WHERE {fitting} ORDER BY id")
    assert [(id_, bits(value)) for id_, value in stored(empty_product, "id, value")] == [
        (id_, bits(value)) for id_, value in cast
    ]


def test_copy__money__is_the_amount(empty_product: Product) -> None:
    retype(empty_product, "value", "money")
    add_event(empty_product, id=1, value="12.5")

    copy(empty_product)

    assert stored(empty_product, "value") == [(12.5,)]


@pytest.mark.parametrize(
    ("column", "type_", "good", "bad", "reason"),
    [
        (
            "value",
            "text",
            ("1.5", 1.5),
            ["n/a", "", " 5", "1e400", "1,5", "0x10", "NaN", "--1"],
            "not a number of double",
        ),
        *rarely(
            ("value", "numeric", ("1.5", 1.5), ["1e400", "-1e309", "1e-400"], "beyond what double precision holds"),
            (
                "inbox_id",
                "numeric",
                ("12.0", 12),
                ["12.7", "9223372036854775808", "NaN", "Infinity"],
                "not a whole number",
            ),
        ),
        ("inbox_id", "float8", ("-3", -3), ["1e300", "12.7", "NaN", "-Infinity", "9.3e18"], "not a whole number"),
        *rarely(
            ("user_id", "real", ("7", 7), ["1e30", "0.5"], "not a whole number"),
            ("account_id", "numeric", ("1", 1), ["1.5"], "not a whole number"),
            ("id", "numeric", ("77", 77), [], ""),
        ),
    ],
)
def test_copy__value_that_does_not_fit__refuses_its_row_alone(
    empty_product: Product, column: str, type_: str, good: tuple[str, Any], bad: list[str], reason: str
) -> None:
    retype_keeping(empty_product, column, type_)
    add_event(empty_product, NOON, **{"id": 77, column: good[0]})
    for number, value in enumerate(bad):
        add_event(empty_product, NOON, **{"id": 100 + number, column: value})

    for _ in range(2):
        (state,) = copy(empty_product)
        assert (state.rows, state.refused) == (1, len(bad))
        assert stored(empty_product, column) == [(good[1],)]
        found = letters(empty_product)
        assert [key for key, _ in found] == [str(100 + number) for number in range(len(bad))]
        assert all(text.startswith(f"{column} (") and reason in text for _, text in found)

    empty_product.execute("DELETE FROM reporting_events WHERE id >= 100")
    copy(empty_product)
    assert letters(empty_product) == []


def retype_keeping(product: Product, column: str, type_: str) -> None:
    if column == "id":
        product.execute("ALTER TABLE reporting_events ALTER COLUMN id DROP IDENTITY IF EXISTS")
    product.execute(f"ALTER TABLE reporting_events ALTER COLUMN {column} TYPE {type_} USING {column}::text::{type_}")


def test_copy__row_of_dead_letter__is_as_the_product_wrote_it(empty_product: Product) -> None:
    retype(empty_product, "value", "text")
    empty_product.execute("ALTER TABLE reporting_events ADD COLUMN more text DEFAULT 'kept'")
    add_event(empty_product, id=1, value="n/a")

    copy(empty_product)

    ((payload,),) = empty_product.execute("SELECT payload::jsonb FROM analytics_pipeline.dead_letters")
    assert (payload["value"], payload["more"]) == ("n/a", "kept")


WRONG = {
    "id": ("uuid", "an integer"),
    "name": ("text[]", "text"),
    "value": ("interval", "a number"),
    "value_in_business_hours": ("boolean", "a number"),
    "account_id": ("text", "an integer"),
    "inbox_id": ("money", "an integer"),
    "event_end_time": ("bigint", "a timestamp or a date"),
    "created_at": ("text", "a timestamp"),
    "updated_at": ("date", "a timestamp"),
}


def test_copy__types_that_no_value_can_be_read_of__are_refused_with_a_sentence(empty_product: Product) -> None:
    add_event(empty_product, id=1)
    copy(empty_product)
    before = (stored(empty_product), ledger(empty_product))
    columns = ", ".join(f"NULL::{type_} AS {column}" for column, (type_, _) in WRONG.items())
    empty_product.execute("ALTER TABLE reporting_events RENAME TO events")
    empty_product.execute(f"CREATE VIEW reporting_events AS SELECT {columns}, user_id FROM events")

    with pytest.raises(WrongTypes) as refusal:
        copy(empty_product)

    found = "; ".join(
        f"reporting_events.{column} is {type_}, {kind} is needed" for column, (type_, kind) in WRONG.items()
    )
    assert str(refusal.value) == (
        f"The source cannot be read right: {found}. Nothing was read or changed."
        " For views to point at instead, run: analytics-pipeline doctor --views"
    )
    assert (stored(empty_product), ledger(empty_product)) == before


def test_copy__types_that_are_read_otherwise__arrive(empty_product: Product) -> None:
    """An enumeration, padded text, a domain of a domain, a timestamp without zone and a date."""
    empty_product.execute("CREATE TYPE kind AS ENUM ('first_response', 'reply_time')")
    empty_product.execute("CREATE DOMAIN seconds AS numeric")
    empty_product.execute("CREATE DOMAIN good_seconds AS seconds CHECK (value > 0)")
    retype(empty_product, "name", "kind")
    retype(empty_product, "value", "good_seconds")
    retype(empty_product, "event_start_time", "date")
    retype(empty_product, "event_end_time", "timestamp")
    add_event(empty_product, id=1, value="6.81", event_start_time="2026-03-08", event_end_time="2026-03-08 12:00:00.5")

    copy(empty_product)
    found = stored(empty_product, "name, value, event_start_time, event_end_time")
    empty_product.execute("ALTER TABLE reporting_events ALTER COLUMN name TYPE char(20) USING name::text")
    copy(empty_product)

    midnight, half = datetime(2026, 3, 8, tzinfo=timezone.utc), NOON.replace(microsecond=500_000)
    assert found == [("first_response", 6.81, midnight, half)]
    assert stored(empty_product, "name, value, event_start_time, event_end_time") == found


def test_as_found__types_of_the_contract__are_read_by_the_same_statement(empty_product: Product) -> None:
    store = empty_product.postgres

    assert [as_found(store, one) is one for one in (REPORTING_EVENTS, DUO_CHAT_EVENTS)] == [True, True]


def test_as_found__other_types__leave_the_index_of_the_day_in_use(empty_product: Product) -> None:
    retype(empty_product, "value", "numeric")
    copying = as_found(empty_product.postgres, REPORTING_EVENTS)

    assert "reporting_events_created_at" in _plan(empty_product, copying)


def _plan(product: Product, source: DaySource) -> str:
    condition = between(source, day_start(DAY), day_start(next_day(DAY)))
    statement = source.rows(product.postgres, sql.SQL("source.value"), condition)
    with product.postgres.connect() as connection:
        connection.execute("SET enable_seqscan = off")
        return str(connection.execute(sql.SQL("EXPLAIN ") + statement).fetchall())


def copy_chats(product: Product) -> list[DayState]:
    return DayCopy(DUO_CHAT_EVENTS, product.postgres, product.clickhouse, "run").copy(DAY, DAY)


def test_copy__one_id_at_two_moments_of_a_millisecond__refuses_that_row_alone(empty_product: Product) -> None:
    """The product's key may be the id and the timestamp; the days of the piece arrive all the same."""
    empty_product.execute("ALTER TABLE ai_duo_chat_events DROP CONSTRAINT ai_duo_chat_events_pkey")
    for id_, microsecond in ((1, 900), (1, 100), (2, 100), (1, 2_000)):
        empty_product.add_chat(NOON.replace(microsecond=microsecond), id=id_, namespace_path=str(microsecond // 1000))

    for _ in range(2):
        (state,) = copy_chats(empty_product)
        assert (state.rows, state.refused) == (3, 1)
        rows = empty_product.clickhouse.query("SELECT id, timestamp FROM duo_chat_events FINAL ORDER BY ALL")
        assert rows == [(1, NOON), (1, NOON.replace(microsecond=2_000)), (2, NOON)]
        assert letters(empty_product) == [("1", "another row has the same id at the same moment")]
        ((payload,),) = empty_product.execute("SELECT payload::jsonb FROM analytics_pipeline.dead_letters")
        assert datetime.fromisoformat(payload["timestamp"]).microsecond == 900


@pytest.mark.slow
def test_copy__row_shown_twice_by_a_view__refuses_one_of_them(empty_product: Product) -> None:
    empty_product.add_chat(NOON, id=1)
    empty_product.execute("ALTER TABLE ai_duo_chat_events RENAME TO chats")
    empty_product.execute(
        "CREATE VIEW ai_duo_chat_events AS SELECT * FROM chats UNION ALL SELECT * FROM chats UNION ALL"
        " SELECT 2, timestamp, user_id, organization_id, event, namespace_path, payload, created_at FROM chats"
    )

    (state,) = copy_chats(empty_product)

    assert (state.rows, state.refused) == (2, 1)
    assert letters(empty_product) == [("1", "another row has the same id at the same moment")]


def test_copy__rows_of_a_view_without_an_id__are_refused_with_the_reason(empty_product: Product) -> None:
    for relation in ("reporting_events", "ai_duo_chat_events", "ai_code_suggestion_events"):
        empty_product.execute(
            f"ALTER TABLE {relation} DROP CONSTRAINT {relation}_pkey, ALTER id DROP IDENTITY IF EXISTS"
        )
        empty_product.execute(f"ALTER TABLE {relation} ALTER id DROP NOT NULL")
    add_event(empty_product, id=None)
    add_event(empty_product, id=2)
    empty_product.add_chat(NOON, id=None)
    empty_product.add_suggestion(NOON, id=None)

    states = [
        DayCopy(source, empty_product.postgres, empty_product.clickhouse, "run").copy(DAY, DAY)
        for source in (REPORTING_EVENTS, *SOURCES)
    ]

    assert [(state.rows, state.refused) for (state,) in states] == [(1, 1), (0, 1), (0, 1)]
    assert stored(empty_product, "id") == [(2,)]
    letters = empty_product.execute("SELECT record_key, reason FROM analytics_pipeline.dead_letters")
    assert letters == [("", "the event has no id")] * 3


LONG = "7" * 131_073


@pytest.mark.parametrize(
    ("payload", "language", "unreadable"),
    [
        (f'{{"language": "go", "n": {LONG}}}', "", "payload"),
        *rarely(
            (f'{{"language": "go", "n": 0.{LONG}}}', "", "payload"),
            (f'{{"language": "go", "n": 0.{LONG[:15_000]}e-999}}', "go", ""),
            (f'{{"language": "go", "n": "{LONG}", "m": "\\\\\\" {LONG}"}}', "go", ""),
        ),
    ],
)
def test_copy__json_with_a_number_that_no_jsonb_holds__costs_that_row_its_payload_alone(
    empty_product: Product, payload: str, language: str, unreadable: str
) -> None:
    empty_product.execute("ALTER TABLE ai_code_suggestion_events ALTER payload TYPE json USING NULL")
    for text in (payload, '{"language": "c"}'):
        empty_product.execute(
            "INSERT INTO ai_code_suggestion_events (timestamp, user_id, event, payload) VALUES (%s, 1, 2, %s)",
            NOON,
            text,
        )

    copy = DayCopy(CODE_SUGGESTION_EVENTS, empty_product.postgres, empty_product.clickhouse, "run")
    (state,) = copy.copy(DAY, DAY)

    rows = empty_product.clickhouse.query("SELECT language, unreadable FROM code_suggestion_events ORDER BY id")
    assert ((state.rows, state.refused), rows) == ((2, 0), [(language, unreadable), ("c", "")])
