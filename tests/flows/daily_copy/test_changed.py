"""Days beside their copies: what has gone is found, and every old day has its turn."""

from collections import Counter
from datetime import date, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from analytics_pipeline.flows.daily_copy.changed import changed_days, days_in_turn, intact_days
from analytics_pipeline.flows.daily_copy.ledger import DayState
from analytics_pipeline.flows.reporting.source import REPORTING_EVENTS
from tests.flows.daily_copy.test_copy import DAY, NOON, add_event, copy
from tests.product import Product

WEEK = 24 * 7


def test_changed__rows_deleted_moved_or_added__are_the_days_that_were_copied_and_differ(
    empty_product: Product,
) -> None:
    days = [DAY + timedelta(days=number) for number in range(6)]
    for number in range(4):
        add_event(empty_product, NOON + timedelta(days=number), id=number, updated_at=NOON)
    copy(empty_product, DAY, days[4])
    assert changed_days(empty_product.postgres, REPORTING_EVENTS, days) == set()

    empty_product.execute("DELETE FROM reporting_events WHERE id = 0")
    empty_product.execute("UPDATE reporting_events SET created_at = %s WHERE id = 2", NOON + timedelta(days=4))
    add_event(empty_product, NOON + timedelta(days=5), id=9, updated_at=NOON)

    assert changed_days(empty_product.postgres, REPORTING_EVENTS, days) == {DAY, days[2], days[4]}
    assert changed_days(empty_product.postgres, REPORTING_EVENTS, days[1:3]) == {days[2]}
    assert changed_days(empty_product.postgres, REPORTING_EVENTS, []) == set()


def test_intact__of_copied_days__are_those_that_a_copy_would_leave_as_they_are(empty_product: Product) -> None:
    days = [DAY + timedelta(days=number) for number in range(6)]
    for number in range(5):
        add_event(empty_product, NOON + timedelta(days=number), id=number, updated_at=NOON)
    # An empty day is there as well.
    states = {state.day: state for state in copy(empty_product, DAY, days[5])}
    assert intact(empty_product, days) == states

    empty_product.execute("DELETE FROM reporting_events WHERE id = 0")
    empty_product.execute(
        "UPDATE analytics_pipeline.source_copies SET copied_at = %s WHERE day = %s", NOON + timedelta(days=1), days[1]
    )
    empty_product.clickhouse.execute(
        "ALTER TABLE reporting_events DROP PARTITION ID {id:String}", id=f"{days[2]:%Y%m%d}"
    )
    empty_product.execute("DELETE FROM analytics_pipeline.source_copies WHERE day = %s", days[3])

    assert intact(empty_product, days) == {day: states[day] for day in days[4:]}
    assert intact(empty_product, []) == {}


def intact(product: Product, days: list[date]) -> dict[date, DayState]:
    return intact_days(product.postgres, product.clickhouse, REPORTING_EVENTS, days)


@given(first=st.dates(date(1990, 1, 1), date(2030, 1, 1)), length=st.integers(0, 400), hour=st.integers(0, 10**6))
def test_days_in_turn__over_a_week_of_hours__are_each_day_once(first: date, length: int, hour: int) -> None:
    began = datetime(2020, 1, 1, 0, 25, tzinfo=timezone.utc) + timedelta(hours=hour)
    last = first + timedelta(days=length - 1)

    looks = [days_in_turn(first, last, began + timedelta(hours=number)) for number in range(WEEK)]

    assert Counter(day for look in looks for day in look) == Counter(
        first + timedelta(days=number) for number in range(length)
    )
    assert max(map(len, looks)) == -(-length // WEEK)
