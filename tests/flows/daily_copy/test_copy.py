"""Days from Postgres to ClickHouse: exact, whole or not at all, and the same however often they are copied."""

import math
import threading
from datetime import date, datetime, timedelta, timezone
from typing import Any

import psycopg
import pytest
from clickhouse_connect.driver.exceptions import OperationalError

from analytics_pipeline.flows.daily_copy import copy as daily_copy
from analytics_pipeline.flows.daily_copy.copy import DayCopy
from analytics_pipeline.flows.daily_copy.errors import IncompleteCopy
from analytics_pipeline.flows.daily_copy.ledger import DayState, SourceDay, between, source_days
from analytics_pipeline.flows.daily_copy.reading import Span, pieces_of, span_of
from analytics_pipeline.flows.days import day_start
from analytics_pipeline.flows.reporting.source import REPORTING_EVENTS
from analytics_pipeline.resources.clickhouse.client import ClickHouse
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
    assert states == [DayState(DAY, 3, 0, moment, _changes(moment, NOON, NOON))]
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
    assert copy(empty_product) == [DayState(DAY, 0, 0, None, 0)]
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
    assert states == [DayState(DAY, 1, 2, NOON, _changes(NOON, NOON))]
    assert stored(empty_product, "id, event_start_time, event_end_time, updated_at") == [(3, None, None, None)]
    assert empty_product.execute(letters) == [
        ("reporting_events", "2026-03-08", "1", "the event has no account"),
        ("reporting_events", "2026-03-08", "2", "the event has no name"),
    ]

    empty_product.execute("DELETE FROM reporting_events WHERE account_id IS NULL OR name IS NULL")
    copy(empty_product)

    assert empty_product.execute(letters) == []


def test_copy__changes_at_moments_beyond_all_calendars__are_unknown(empty_product: Product) -> None:
    for number, moment in enumerate(["20000-01-01 12:00Z", "0044-03-15 BC", "-infinity", NOON]):
        add_event(empty_product, id=number, updated_at=moment)

    states = copy(empty_product)

    assert states == [DayState(DAY, 4, 0, NOON, _changes(NOON))]
    assert stored(empty_product, "id, updated_at") == [(0, None), (1, None), (2, None), (3, NOON)]


def test_copy__changes_of_all_kinds__are_recorded_as_postgres_counts_them(empty_product: Product) -> None:
    """ClickHouse counts them, or Postgres when a row was refused; and what both find is compared week by week."""
    empty_product.execute(_CHANGES_OF_ALL_KINDS)
    days = [DAY + timedelta(days=number) for number in range(6)]

    streamed = copy(empty_product, days[0], days[-1])
    empty_product.execute("UPDATE reporting_events SET name = NULL WHERE id IN (4, 400)")
    asked = copy(empty_product, days[0], days[-1])

    with empty_product.postgres.connect() as connection:
        condition = between(REPORTING_EVENTS, day_start(days[0]), day_start(days[-1] + timedelta(days=1)))
        found = source_days(connection, empty_product.postgres, REPORTING_EVENTS, condition)
    assert [(day.rows, day.newest is not None, day.changes < 0) for day in found] == [
        (100, True, number == 4) for number in range(5)
    ]
    assert streamed == [*(day.copied(day.rows) for day in found), DayState(days[5], 0, 0, None, 0)]
    assert asked == [
        *(day.copied(day.rows - (number in (0, 3))) for number, day in enumerate(found)),
        DayState(days[5], 0, 0, None, 0),
    ]


@pytest.mark.slow
def test_copy__rows_refused_in_every_piece__are_asked_for_side_by_side(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both pieces ask Postgres at once, over one connection."""
    days = [DAY + timedelta(days=number) for number in range(200)]
    empty_product.execute(
        "INSERT INTO reporting_events (id, name, account_id, created_at, updated_at)"
        " SELECT number, 'first_response', CASE WHEN mod(number, 2) = 0 THEN 1 END, moment, moment"
        " FROM generate_series(0, 20000 - 1) AS number,"
        " LATERAL (SELECT %s::timestamptz + number / 100 * interval '1 day' AS moment) AS at",
        NOON,
    )
    monkeypatch.setattr(daily_copy, "estimated_rows", lambda *_: 500_000)
    both, ask = threading.Barrier(2, timeout=60), source_days

    def together(*arguments: Any) -> list[SourceDay]:
        both.wait()
        return ask(*arguments)

    monkeypatch.setattr(daily_copy, "source_days", together)
    states = copy(empty_product, days[0], days[-1])

    assert [(state.day, state.rows, state.refused) for state in states] == [(day, 50, 50) for day in days]
    assert empty_product.execute("SELECT count(*) FROM analytics_pipeline.dead_letters") == [(10_000,)]


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

    insert = ClickHouse.insert_stream

    def cut(self: ClickHouse, table: str, columns: list[str], body: Any, **options: Any) -> None:
        """The schema alone arrives."""
        (schema, *_) = body()
        insert(self, table, columns, lambda: (part for part in [schema]), **options)

    monkeypatch.setattr(ClickHouse, "insert_stream", cut)
    with pytest.raises(IncompleteCopy, match="Of 2 rows of reporting_events ClickHouse stored 0"):
        copy(empty_product)

    assert (stored(empty_product), ledger(empty_product), empty_product.tables()) == before


def test_copy__later_reading_swapped_meanwhile__is_kept(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slow copy read one row; while it was on its way, a second was added and copied."""
    add_event(empty_product, id=1)
    staged, slow = DayCopy._stored, [True]

    def overtaken(self: DayCopy, *arguments: Any) -> list[SourceDay]:
        days = staged(self, *arguments)
        if slow.pop() if slow else False:
            add_event(empty_product, id=2)
            other = threading.Thread(target=copy, args=[empty_product])
            other.start()
            other.join()
        return days

    monkeypatch.setattr(DayCopy, "_stored", overtaken)
    copy(empty_product)

    assert [id_ for id_, _ in stored(empty_product)] == [1, 2]
    assert [row[2] for row in ledger(empty_product)] == [2]


@pytest.mark.slow
def test_copy__very_many_rows__goes_in_pieces_of_whole_days(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last piece fails: the days of the others stay, as their ledger says."""
    days = [DAY + timedelta(days=number) for number in range(5)]
    for day, rows in zip(days, (1, 1, 3, 0, 1), strict=True):
        for _ in range(rows):
            add_event(empty_product, NOON + (day - DAY))
    monkeypatch.setattr(daily_copy, "pieces_of", lambda *_: [days[0:2], days[2:4], days[4:5]])
    stream, streams = DayCopy._stream, []

    def last_fails(self: DayCopy, moment: Any, span: Span, staging: str) -> int:
        streams.append(span)
        if span[1] > day_start(days[-1]):
            raise RuntimeError("gone")
        return stream(self, moment, span, staging)

    with monkeypatch.context() as patch:
        patch.setattr(DayCopy, "_stream", last_fails)
        with pytest.raises(RuntimeError):
            copy(empty_product, days[0], days[-1])

    assert sorted(streams) == [span_of(days[0:2]), span_of(days[2:4]), span_of(days[4:5])]
    assert len(stored(empty_product)) == 5
    assert [row[1:3] for row in ledger(empty_product)] == [(days[0], 1), (days[1], 1), (days[2], 3), (days[3], 0)]
    assert copy(empty_product, days[0], days[-1]) == [
        DayState(day, rows, 0, newest, changes) for day, rows, newest, changes in _in_source(empty_product, days)
    ]
    assert len(stored(empty_product)) == 6


@pytest.mark.parametrize(
    ("rows", "lengths"),
    [
        pytest.param(0, [365], id="nothing"),
        pytest.param(499_999, [365], id="one piece"),
        pytest.param(500_000, [183, 182], id="two"),
        pytest.param(5_000_000, [92, 92, 92, 89], id="four"),
        pytest.param(30_000_000, [*[37] * 9, 32], id="as a lock may last"),
        pytest.param(10**12, [1] * 365, id="at least a day"),
    ],
)
def test_pieces__estimated_rows__hold_every_day_once_in_order(rows: int, lengths: list[int]) -> None:
    days = [DAY + timedelta(days=number) for number in range(365)]

    pieces = pieces_of(days, rows, 60)

    assert [len(piece) for piece in pieces] == lengths
    assert [day for piece in pieces for day in piece] == days


def test_copy__column_is_missing__is_named_before_anything_is_sent(empty_product: Product) -> None:
    empty_product.execute("ALTER TABLE reporting_events DROP COLUMN value_in_business_hours")

    with pytest.raises(psycopg.errors.UndefinedColumn, match="value_in_business_hours"):
        copy(empty_product)


def test_copy__database_in_another_encoding__arrives_as_unicode(empty_product: Product) -> None:
    """As a client of the role would get it without asking for anything."""
    ((name,),) = empty_product.execute("SELECT current_database()")
    empty_product.execute(f"ALTER DATABASE {name} SET client_encoding = 'LATIN1'")
    add_event(empty_product, id=1, name="größe")

    copy(empty_product)

    assert stored(empty_product, "name") == [("größe",)]


def _changes(*moments: datetime) -> int:
    return sum(round(moment.timestamp() * 1000) for moment in moments)


def _in_source(product: Product, days: list[date]) -> list[tuple[date, int, datetime | None, int]]:
    found: dict[date, list[datetime]] = {}
    for day, moment in product.execute("SELECT created_at::date, updated_at FROM reporting_events"):
        found.setdefault(day, []).append(moment)
    return [
        (day, len(found.get(day, [])), max(found.get(day, []), default=None), _changes(*found.get(day, [])))
        for day in days
    ]


# Five days of a hundred rows each. Of all but the last day every change is of another kind; the sum of the last day's,
# all before 1970, is less than 0.
_CHANGES_OF_ALL_KINDS = """
    INSERT INTO reporting_events (id, name, account_id, created_at, updated_at)
    SELECT number, 'first_response', 1, '2026-03-08Z'::timestamptz + (number - 1) * interval '14 minutes 24 seconds',
        CASE CASE WHEN number > 400 THEN 5 ELSE mod(number, 8) END
            WHEN 0 THEN '1970-01-01Z'::timestamptz + number * interval '1 hour'
            WHEN 1 THEN 'infinity'
            WHEN 2 THEN '-infinity'
            WHEN 3 THEN '20000-01-01Z'
            WHEN 4 THEN '0044-03-15 BC'
            WHEN 5 THEN '1969-07-20 20:17:40.0005Z'::timestamptz - number * interval '1.000001 seconds'
            WHEN 6 THEN '2299-12-30 23:59:59.9995Z'
            ELSE '2026-03-08 12:00Z'::timestamptz + number * interval '1234.567891 seconds'
        END
    FROM generate_series(1, 500) AS number
"""
