"""What passes by in a stream is what Postgres itself counts."""

from collections import defaultdict
from datetime import date, datetime, timedelta, timezone

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from analytics_pipeline.flows.daily_copy.ledger import DayState, SourceDay, between, source_days
from analytics_pipeline.flows.daily_copy.source import day_start
from analytics_pipeline.flows.daily_copy.tally import Tally
from analytics_pipeline.flows.reporting.source import REPORTING_EVENTS
from tests.flows.daily_copy.test_copy import copy
from tests.product import Product

FIRST, LAST = date(1969, 12, 25), date(1970, 1, 8)
# Arrow's moments have no zone here. None is unknown.
EPOCH, LATE = datetime.fromisoformat("1970-01-01"), datetime.fromisoformat("9999-12-30")
MOMENTS = st.datetimes(EPOCH - timedelta(days=7), EPOCH + timedelta(days=8, microseconds=-1))
CHANGES = st.none() | st.datetimes(datetime.fromisoformat("0001-01-02"), LATE)


@given(batches=st.lists(st.lists(st.tuples(MOMENTS, CHANGES), max_size=20), max_size=5))
def test_tally__any_rows_in_any_batches__is_the_count_the_last_and_the_sum_of_each_day(
    batches: list[list[tuple[datetime, datetime | None]]],
) -> None:
    tally = Tally(FIRST, LAST)
    for batch in batches:
        tally.add(np.array([one[0] for one in batch], "datetime64[us]"), np.array([one[1] for one in batch], "M8[us]"))

    assert tally.rows == sum(map(len, batches))
    assert tally.days() == _by_hand([row for batch in batches for row in batch])


def test_tally__sum_of_more_than_64_bits__is_its_remainder() -> None:
    tally, rows = Tally(FIRST, LAST), 40_000
    for _ in range(1_000):
        tally.add(np.full(rows, FIRST, "datetime64[us]"), np.full(rows, LATE, "datetime64[us]"))

    milliseconds = (LATE - EPOCH) // timedelta(milliseconds=1)
    assert milliseconds * rows * 1_000 > 2**63
    assert tally.days() == [
        SourceDay(FIRST, rows * 1_000, LATE.replace(tzinfo=timezone.utc), milliseconds * rows * 1_000 % 2**63)
    ]


def test_copy__changes_of_all_kinds__are_recorded_as_postgres_counts_them(empty_product: Product) -> None:
    """Also when a row was refused, and Postgres is asked instead."""
    empty_product.execute(_ROWS)
    first, last = date(2026, 3, 1), date(2026, 3, 9)

    streamed = copy(empty_product, first, last)
    empty_product.execute("UPDATE reporting_events SET name = NULL WHERE id IN (4, 400)")
    asked = copy(empty_product, first, last)

    with empty_product.postgres.connect() as connection:
        condition = between(REPORTING_EVENTS, day_start(first), day_start(date(2026, 3, 10)))
        found = source_days(connection, empty_product.postgres, REPORTING_EVENTS, condition)
    assert [day.rows for day in found] == [100] * 5
    filled = {day.day: day.copied(day.rows) for day in found}
    assert streamed == [filled.get(state.day, DayState(state.day, 0, 0, None, 0)) for state in streamed]
    assert [state.refused for state in asked] == [1, 0, 0, 1, 0, 0, 0, 0, 0]
    assert [(state.newest, state.changes) for state in asked] == [(state.newest, state.changes) for state in streamed]


# Five days of a hundred rows each, of which each row has another kind of moment of its change.
_ROWS = """
    INSERT INTO reporting_events (id, name, account_id, created_at, updated_at)
    SELECT number, 'first_response', 1, '2026-03-01Z'::timestamptz + (number - 1) * interval '14 minutes 24 seconds',
        CASE mod(number, 8)
            WHEN 0 THEN 'epoch'::timestamptz + number * interval '1 hour'
            WHEN 1 THEN 'infinity'
            WHEN 2 THEN '-infinity'
            WHEN 3 THEN '20000-01-01Z'
            WHEN 4 THEN '0044-03-15 BC'
            WHEN 5 THEN '1969-07-20 20:17:40.0005Z'::timestamptz - number * interval '1.000001 seconds'
            ELSE '2026-03-08 12:00Z'::timestamptz + number * interval '1234.567891 seconds'
        END
    FROM generate_series(1, 500) AS number
"""


def _by_hand(rows: list[tuple[datetime, datetime | None]]) -> list[SourceDay]:
    days: dict[date, list[datetime | None]] = defaultdict(list)
    for moment, change in rows:
        days[moment.date()].append(change)
    return [_day(day, changes) for day, changes in sorted(days.items())]


def _day(day: date, changes: list[datetime | None]) -> SourceDay:
    known = [change for change in changes if change]
    total = sum(round((change - EPOCH) // timedelta(microseconds=1) / 1e6 * 1000) for change in known)
    newest = max(known).replace(tzinfo=timezone.utc) if known else None
    return SourceDay(day, len(changes), newest, abs(total) % 2**63 * (1 if total >= 0 else -1))
