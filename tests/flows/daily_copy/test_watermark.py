"""Which days must be copied again: exactly those that changed, and none that may still change is forgotten."""

from datetime import date, datetime, timedelta, timezone
from unittest import mock

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_pipeline.flows.daily_copy import ledger as copy_ledger
from analytics_pipeline.flows.daily_copy.watermark import follow, touched_days
from analytics_pipeline.flows.reporting.source import REPORTING_EVENTS
from tests.flows.daily_copy.test_copy import DAY, NOON, add_event, copy, stored
from tests.product import Product, today
from tests.thorough import on_engines, rarely


def touched(product: Product, since: date = DAY) -> list[date]:
    return [day.day for day in follow(product.postgres, REPORTING_EVENTS, since, today() + timedelta(days=1))]


def watermark(product: Product) -> datetime:
    ((passed,),) = product.execute("SELECT passed FROM analytics_pipeline.watermarks")
    assert isinstance(passed, datetime)
    return passed


def now() -> datetime:
    return datetime.now(timezone.utc)


def test_touched__nothing_copied_yet__are_the_days_changed_today(empty_product: Product) -> None:
    add_event(empty_product, NOON, updated_at=NOON)
    add_event(empty_product, NOON + timedelta(days=5), updated_at=now())

    assert touched(empty_product) == [DAY + timedelta(days=5)]


def test_touched__days_before_the_first_partition__are_nobodys_and_hold_nothing_up(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copy_ledger, "SETTLE", timedelta(0))
    add_event(empty_product, NOON, updated_at=now())
    copy(empty_product, DAY + timedelta(days=1), DAY + timedelta(days=1))

    assert touched(empty_product, DAY + timedelta(days=1)) == []
    assert touched(empty_product, DAY) == []  # the watermark has passed it


@pytest.mark.parametrize("day", ["2100-01-01 12:00Z", "infinity"])
def test_touched__days_after_the_last_partition__are_nobodys_and_hold_nothing_up(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch, day: str
) -> None:
    monkeypatch.setattr(copy_ledger, "SETTLE", timedelta(0))
    copy(empty_product)
    add_event(empty_product, NOON, updated_at=now())
    empty_product.execute("UPDATE reporting_events SET created_at = %s::timestamptz", day)
    before = now()

    assert touched(empty_product) == []
    assert watermark(empty_product) >= before


@pytest.mark.parametrize("change", ["20000-01-01 12:00Z", *rarely("infinity", "0044-03-15 BC")])
def test_touched__changes_at_moments_beyond_all_calendars__hold_nothing_up(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr(copy_ledger, "SETTLE", timedelta(0))
    copy(empty_product)
    add_event(empty_product, NOON, id=1, updated_at=change)
    before = now()

    assert touched(empty_product) == []
    assert watermark(empty_product) >= before

    add_event(empty_product, NOON, id=2, updated_at=now())
    assert touched(empty_product) == [DAY]
    copy(empty_product)
    assert touched(empty_product) == []


def test_touched__copied_again__is_nothing(empty_product: Product) -> None:
    add_event(empty_product, NOON, updated_at=now())
    assert touched(empty_product) == [DAY]
    assert touched(empty_product) == [DAY]

    copy(empty_product)

    assert touched(empty_product) == []


def test_touched__old_days__are_found_by_new_changed_and_moved_rows(empty_product: Product) -> None:
    for number in range(4):
        add_event(empty_product, NOON + timedelta(days=number), id=number, updated_at=NOON)
    copy(empty_product, DAY, DAY + timedelta(days=4))
    assert touched(empty_product) == []

    add_event(empty_product, NOON, id=10, updated_at=now())
    empty_product.execute("UPDATE reporting_events SET value = 1, updated_at = now() WHERE id = 1")
    empty_product.execute(
        "UPDATE reporting_events SET created_at = %s, updated_at = now() WHERE id = 2", NOON + timedelta(days=4)
    )

    # Where the moved row was, nothing changed that carries a time stamp: the daily comparison finds that.
    assert touched(empty_product) == [DAY, DAY + timedelta(days=1), DAY + timedelta(days=4)]


def test_touched__watermark__never_passes_an_open_transaction_or_an_uncopied_change(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copy_ledger, "SETTLE", timedelta(0))
    add_event(empty_product, NOON, id=1, updated_at=now())
    copy(empty_product)
    assert touched(empty_product) == []

    with psycopg.connect(empty_product.postgres.url) as late:
        late.execute("INSERT INTO reporting_events (id, name, account_id, created_at) VALUES (2, 'x', 1, %s)", [NOON])
        add_event(empty_product, NOON + timedelta(days=1), id=3, updated_at=now())
        copy(empty_product, DAY + timedelta(days=1), DAY + timedelta(days=1))
        for _ in range(3):
            assert touched(empty_product) == []
        began = late.info.backend_pid
        ((started,),) = empty_product.execute("SELECT xact_start FROM pg_stat_activity WHERE pid = %s", began)
        assert watermark(empty_product) <= started

    # Committed after a higher id had been copied.
    assert touched(empty_product) == [DAY]
    stuck = watermark(empty_product)
    add_event(empty_product, NOON + timedelta(days=2), id=4, updated_at=now())
    assert touched(empty_product) == [DAY, DAY + timedelta(days=2)]
    assert watermark(empty_product) <= started
    assert watermark(empty_product) >= stuck

    copy(empty_product, DAY, DAY + timedelta(days=2))
    assert touched(empty_product) == []
    assert watermark(empty_product) > started


def test_touched_days__of_some_days__pass_no_change_of_the_others(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copy_ledger, "SETTLE", timedelta(0))
    later = DAY + timedelta(days=3)
    for day in (NOON, NOON + timedelta(days=3)):
        add_event(empty_product, day, updated_at=now())

    some = touched_days(empty_product.postgres, REPORTING_EVENTS, later, later)
    copy(empty_product, later, later)
    none = touched_days(empty_product.postgres, REPORTING_EVENTS, later, later)

    assert ([one.day for one in some], none, touched(empty_product)) == ([later], [], [DAY])


def test_snapshot__another_transaction_is_open__horizon_lies_before_it_by_the_settling_time(
    empty_product: Product,
) -> None:
    # A row may be older than its transaction: its application's clock is behind, or sets the time before it begins.
    with psycopg.connect(empty_product.postgres.url) as late, empty_product.postgres.connect() as connection:
        late.execute("SELECT 1")
        pid = late.info.backend_pid
        ((started,),) = empty_product.execute("SELECT xact_start FROM pg_stat_activity WHERE pid = %s", pid)
        seen = copy_ledger.snapshot(connection)

    assert (seen.taken_at > started, seen.horizon) == (True, started - copy_ledger.SETTLE)


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), st.integers(0, 3)),
        st.tuples(st.just("late"), st.integers(0, 3)),
        st.tuples(st.just("commit"), st.just(0)),
        st.tuples(st.just("update"), st.integers(0, 9)),
        st.tuples(st.just("tick"), st.just(0)),
        st.tuples(st.just("look and crash"), st.just(0)),
    ),
    max_size=12,
)


@on_engines(25)
@given(steps=_STEPS)
def test_touched__any_order_of_writes_commits_and_ticks__ends_equal_to_the_source(
    empty_product: Product, steps: list[tuple[str, int]]
) -> None:
    """Whatever happened, a tick after the last commit leaves ClickHouse equal to the source.

    Without the settling time: that is for clocks that differ, and here all changes have the database's.
    """
    empty_product.execute("TRUNCATE reporting_events, analytics_pipeline.source_copies, analytics_pipeline.watermarks")
    empty_product.clickhouse.execute("TRUNCATE TABLE reporting_events")

    def tick() -> None:
        for day in touched(empty_product):
            copy(empty_product, day, day)

    with mock.patch.object(copy_ledger, "SETTLE", timedelta(0)), psycopg.connect(empty_product.postgres.url) as late:
        for kind, number in steps:
            at = NOON + timedelta(days=number)
            if kind == "insert":
                add_event(empty_product, at, updated_at=now())
            elif kind == "late":
                late.execute("INSERT INTO reporting_events (name, account_id, created_at) VALUES ('late', 1, %s)", [at])
            elif kind == "commit":
                late.commit()
            elif kind == "update":
                empty_product.execute(
                    "UPDATE reporting_events SET name = 'new', updated_at = clock_timestamp() WHERE id ="
                    " (SELECT id FROM reporting_events ORDER BY id OFFSET %s LIMIT 1) AND name <> 'late'",
                    number,
                )
            elif kind == "tick":
                tick()
            else:
                touched(empty_product)
    tick()

    assert touched(empty_product) == []
    assert stored(empty_product, "id, name, created_at") == empty_product.execute(
        "SELECT id, name, created_at FROM reporting_events ORDER BY id"
    )


def test_touched__change_commits_after_a_newer_one__is_seen(empty_product: Product) -> None:
    """Neither the number of rows nor the newest change tells of it."""
    newest = now()
    add_event(empty_product, id=1, updated_at=newest - timedelta(minutes=2))
    add_event(empty_product, id=2, updated_at=newest)
    copy(empty_product)
    assert touched(empty_product) == []

    late = newest - timedelta(minutes=1)
    empty_product.execute("UPDATE reporting_events SET name = 'reply_time', updated_at = %s WHERE id = 1", late)

    assert touched(empty_product) == [DAY]
    copy(empty_product)
    assert touched(empty_product) == []
    assert stored(empty_product, "id, name") == [(1, "reply_time"), (2, "first_response")]


def test_touched__copied_before_changes_were_recorded__is_not_copied_again_for_that(empty_product: Product) -> None:
    add_event(empty_product, updated_at=now())
    copy(empty_product)
    empty_product.execute("UPDATE analytics_pipeline.source_copies SET changes = NULL")

    assert touched(empty_product) == []
