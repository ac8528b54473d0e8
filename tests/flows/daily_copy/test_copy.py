"""Days from Postgres to ClickHouse: exact, whole or not at all, and the same however often they are copied."""

import math
import threading
from collections.abc import Generator
from datetime import date, datetime, timedelta, timezone
from typing import Any

import psycopg
import pytest
from clickhouse_connect.driver.exceptions import OperationalError

from analytics_pipeline.flows.daily_copy import copy as daily_copy
from analytics_pipeline.flows.daily_copy.copy import DayCopy, IncompleteCopy
from analytics_pipeline.flows.daily_copy.ledger import DayState
from analytics_pipeline.flows.reporting.source import REPORTING_EVENTS
from analytics_pipeline.resources.clickhouse import ClickHouse
from tests.product import Product

DAY = date(2026, 3, 8)
NOON = datetime(2026, 3, 8, 12, tzinfo=timezone.utc)
_COLUMNS = "id, name, value, value_in_business_hours, account_id, created_at"


def add_event(product: Product, at: datetime = NOON, **values: Any) -> None:
    row = {"name": "first_response", "account_id": 1, "created_at": at, "updated_at": at, **values}
    columns = ", ".join(row)
    product.execute(f"INSERT INTO reporting_events ({columns}) VALUES ({', '.join(['%s'] * len(row))})", *row.values())


def copy(product: Product, first: date = DAY, last: date = DAY) -> list[DayState]:
    return DayCopy(REPORTING_EVENTS, product.postgres, product.clickhouse, "run").copy(first, last)


def stored(product: Product, columns: str = "id, created_at") -> list[tuple[Any, ...]]:
    return product.clickhouse.query(f"SELECT {columns} FROM reporting_events ORDER BY id")


def ledger(product: Product) -> list[tuple[Any, ...]]:
    return product.execute(
        "SELECT source, day, rows, refused, newest FROM analytics_pipeline.source_copies ORDER BY day"
    )


def test_copy__odd_values__arrive_exactly(empty_product: Product) -> None:
    name = "tab\t newline\n return\r backslash\\ \\N quote' emoji😀 \u2028"
    moment = datetime(2026, 3, 8, 23, 59, 59, 999999, tzinfo=timezone.utc)
    add_event(
        empty_product,
        moment,
        id=2**62,
        name=name,
        value=5e-324,
        value_in_business_hours=-0.0,
        event_start_time=datetime(1969, 12, 31, 23, 59, 59, 123456, tzinfo=timezone.utc),
    )
    add_event(empty_product, id=1, name="", value=float("nan"), value_in_business_hours=float("-inf"))
    add_event(empty_product, id=2, value=0.1 + 0.2, inbox_id=3, user_id=4, conversation_id=5)

    states = copy(empty_product)

    columns = (
        "id, name, value, value_in_business_hours, account_id, inbox_id, user_id, conversation_id,"
        " event_start_time, event_end_time, created_at, updated_at"
    )
    one, two, last = stored(empty_product, columns)
    assert states == [DayState(DAY, 3, 0, moment)]
    assert (math.isnan(one[2]), *one[:2], *one[3:]) == (
        True,
        1,
        "",
        -math.inf,
        1,
        None,
        None,
        None,
        None,
        None,
        NOON,
        NOON,
    )
    assert two == (2, "first_response", 0.1 + 0.2, None, 1, 3, 4, 5, None, None, NOON, NOON)
    assert last[:5] == (2**62, name, 5e-324, -0.0, 1)
    assert math.copysign(1, last[3]) == -1
    assert last[8:] == (datetime(1969, 12, 31, 23, 59, 59, 123456, tzinfo=timezone.utc), None, moment, moment)


def test_copy__role_with_another_time_zone__keeps_the_moment(empty_product: Product) -> None:
    ((name,),) = empty_product.execute("SELECT current_database()")
    empty_product.execute(f"ALTER DATABASE {name} SET timezone = 'Asia/Tokyo'")
    empty_product.execute(f"ALTER DATABASE {name} SET datestyle = 'German'")
    empty_product.execute(f"ALTER DATABASE {name} SET extra_float_digits = -3")
    add_event(empty_product, id=1, value=1 / 3)

    copy(empty_product)

    assert stored(empty_product, "id, created_at, value") == [(1, NOON, 1 / 3)]


def test_copy__twice__changes_nothing(empty_product: Product) -> None:
    for number in range(5):
        add_event(empty_product, NOON + timedelta(hours=number))
    first = (copy(empty_product), stored(empty_product), ledger(empty_product))

    assert (copy(empty_product), stored(empty_product), ledger(empty_product)) == first
    assert empty_product.tables() & {"staging_reporting_events"} == set()


def test_copy__range__replaces_each_day_and_leaves_its_neighbours(empty_product: Product) -> None:
    for number in range(-1, 4):
        add_event(empty_product, NOON + timedelta(days=number), id=number + 2)
    copy(empty_product, DAY - timedelta(days=1), DAY + timedelta(days=3))
    empty_product.execute("DELETE FROM reporting_events WHERE id IN (1, 2, 3)")
    empty_product.execute("UPDATE reporting_events SET name = 'reply_time' WHERE id = 4")
    empty_product.execute("UPDATE reporting_events SET name = 'reply_time' WHERE id = 5")

    copy(empty_product, DAY, DAY + timedelta(days=2))

    # Day -1 and day 3 were not asked for; days 0 and 1 have become empty.
    assert stored(empty_product, "id, name") == [(1, "first_response"), (4, "reply_time"), (5, "first_response")]
    assert [row[1:3] for row in ledger(empty_product)] == [
        (DAY - timedelta(days=1), 1),
        (DAY, 0),
        (DAY + timedelta(days=1), 0),
        (DAY + timedelta(days=2), 1),
        (DAY + timedelta(days=3), 1),
    ]


def test_copy__day_without_rows__is_recorded_as_empty(empty_product: Product) -> None:
    assert copy(empty_product) == [DayState(DAY, 0, 0, None)]
    assert ledger(empty_product) == [("reporting_events", DAY, 0, 0, None)]


def test_copy__bounds_of_the_day__are_half_open(empty_product: Product) -> None:
    midnight = datetime(2026, 3, 8, tzinfo=timezone.utc)
    microsecond = timedelta(microseconds=1)
    moments = [
        midnight - microsecond,
        midnight,
        midnight + timedelta(days=1) - microsecond,
        midnight + timedelta(days=1),
    ]
    for number, moment in enumerate(moments):
        add_event(empty_product, moment, id=number)

    copy(empty_product)

    assert [id_ for id_, _ in stored(empty_product)] == [1, 2]


def test_copy__rows_that_cannot_be_held__become_dead_letters_and_stop_nobody(empty_product: Product) -> None:
    add_event(empty_product, id=1, account_id=None)
    add_event(empty_product, id=2, name=None)
    add_event(empty_product, id=3, event_start_time="infinity", event_end_time="-infinity", updated_at="infinity")

    states = copy(empty_product)

    letters = "SELECT flow, unit, record_key, reason FROM analytics_pipeline.dead_letters ORDER BY record_key"
    assert states == [DayState(DAY, 1, 2, NOON)]
    assert stored(empty_product, "id, event_start_time, event_end_time, updated_at") == [(3, None, None, None)]
    assert empty_product.execute(letters) == [
        ("reporting_events", "2026-03-08", "1", "the event has no account"),
        ("reporting_events", "2026-03-08", "2", "the event has no name"),
    ]

    empty_product.execute("DELETE FROM reporting_events WHERE account_id IS NULL OR name IS NULL")
    copy(empty_product)

    assert empty_product.execute(letters) == []


def test_copy__connection_breaks_half_way__starts_again_with_an_empty_staging_table(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        add_event(empty_product, id=number)
    insert, broken = ClickHouse.insert_stream, [True]

    def breaks_once(self: ClickHouse, *arguments: Any, **options: Any) -> None:
        insert(self, *arguments, **options)
        if broken.pop() if broken else False:
            raise OperationalError("the answer was lost")

    monkeypatch.setattr(ClickHouse, "insert_stream", breaks_once)
    copy(empty_product)

    assert [id_ for id_, _ in stored(empty_product)] == [0, 1, 2]


def test_copy__fails_before_the_swap__leaves_the_old_day_and_no_staging_table(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_event(empty_product, id=1)
    copy(empty_product)
    before = (stored(empty_product), ledger(empty_product), empty_product.tables())
    add_event(empty_product, id=2)

    def cut(rows: psycopg.Copy) -> Generator[bytes, None, None]:
        assert list(rows)
        yield b""

    monkeypatch.setattr(daily_copy, "_chunks", cut)
    with pytest.raises(IncompleteCopy, match="Of 2 rows of reporting_events ClickHouse stored 0"):
        copy(empty_product)

    assert (stored(empty_product), ledger(empty_product), empty_product.tables()) == before


def test_copy__later_reading_swapped_meanwhile__is_kept(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slow copy read one row; while it was on its way, a second was added and copied."""
    add_event(empty_product, id=1)
    staged, slow = DayCopy._staged, threading.current_thread()

    def overtaken(self: DayCopy, *arguments: Any) -> list[DayState]:
        states = staged(self, *arguments)
        if threading.current_thread() is slow:
            add_event(empty_product, id=2)
            other = threading.Thread(target=copy, args=[empty_product])
            other.start()
            other.join()
        return states

    monkeypatch.setattr(DayCopy, "_staged", overtaken)
    copy(empty_product)

    assert [id_ for id_, _ in stored(empty_product)] == [1, 2]
    assert [row[2] for row in ledger(empty_product)] == [2]


def test_copy__more_rows_than_a_stream_may_hold__goes_in_pieces_of_whole_days(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third piece fails: the days of the first two stay, as their ledger says."""
    monkeypatch.setattr(daily_copy, "ROWS_PER_PIECE", 2)
    days = [DAY + timedelta(days=number) for number in range(5)]
    for day, rows in zip(days, (1, 1, 3, 0, 1), strict=True):
        for _ in range(rows):
            add_event(empty_product, NOON + (day - DAY))
    stream, streams = DayCopy._stream, []

    def third_fails(self: DayCopy, connection: Any, piece: Any, staging: str) -> int:
        streams.append([(one.day, one.rows) for one in piece])
        if len(streams) == 3:
            raise RuntimeError("gone")
        return stream(self, connection, piece, staging)

    with monkeypatch.context() as patch:
        patch.setattr(DayCopy, "_stream", third_fails)
        with pytest.raises(RuntimeError):
            copy(empty_product, days[0], days[-1])

    assert streams == [
        [(days[0], 1), (days[1], 1)],
        [(days[2], 3)],
        [(days[3], 0), (days[4], 1)],
    ]
    assert len(stored(empty_product)) == 5
    assert copy(empty_product, days[0], days[-1]) == [
        DayState(day, rows, 0, newest) for day, rows, newest in _in_source(empty_product, days)
    ]
    assert len(stored(empty_product)) == 6


def _in_source(product: Product, days: list[date]) -> list[tuple[date, int, datetime | None]]:
    found = product.execute("SELECT created_at::date, count(*), max(updated_at) FROM reporting_events GROUP BY 1")
    by_day = {day: (rows, newest) for day, rows, newest in found}
    return [(day, *by_day.get(day, (0, None))) for day in days]
