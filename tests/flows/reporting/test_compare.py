"""The comparison sees every kind of difference, where it is, and what may have caused it; and none where none is."""

from datetime import date, timedelta

import pytest

from analytics_pipeline.flows.days import Days
from analytics_pipeline.flows.reporting.accounts import accounts
from analytics_pipeline.flows.reporting.compare import By, Compared, Comparison, Difference, Figure, Line, periods
from tests.flows.reporting.desk import add_account, add_event, at, build, copy
from tests.product import Product
from tests.thorough import rarely

DAY = date(2026, 3, 8)
DAYS = Days(date(2026, 3, 6), date(2026, 3, 10))
NOW = at("2026-05-20 12:00")


@pytest.fixture
def desk(empty_product: Product) -> Product:
    """Two accounts with every kind of event over five days, one of which has 23 hours; rolled up."""
    zones = {1: "America/New_York", 2: "Australia/Lord_Howe"}
    for account, zone in zones.items():
        add_account(empty_product, account, zone)
    empty_product.execute(
        "INSERT INTO reporting_events"
        " (name, created_at, value, value_in_business_hours, account_id, user_id, inbox_id, conversation_id)"
        " SELECT (ARRAY['conversation_resolved', 'first_response', 'reply_time', 'conversation_bot_resolved',"
        "  'conversation_bot_handoff', 'conversation_opened'])[n %% 6 + 1], %s + n * interval '13 minutes',"
        "  CASE n %% 11 WHEN 0 THEN NULL WHEN 1 THEN 'NaN' WHEN 2 THEN 'Infinity' ELSE n / 7.0 END, n %% 13,"
        "  1 + n %% 2, nullif(n %% 5, 0), nullif(n / 6 %% 3, 0), nullif(n %% 17, 0)"
        " FROM generate_series(0, 700) AS n",
        at("2026-03-05 12:00"),
    )
    build(empty_product, DAYS.first, DAYS.last)
    return empty_product


def compare(product: Product, days: Days = DAYS, by: By = "week", *only: int) -> list[Compared]:
    zoned = accounts(product.postgres, only or None).zoned
    return list(Comparison(product.postgres, product.clickhouse, zoned, NOW).compare(days, by))


def total(found: list[Compared]) -> Line:
    return sum((one.total for one in found), Line())


@pytest.mark.parametrize(("by", "count"), [("day", 5), *rarely(("week", 2), ("month", 1))])
def test_compare__rollups_are_right__all_keys_are_equal(desk: Product, by: By, count: int) -> None:
    found = compare(desk, DAYS, by)

    line = total(found)
    assert (len(found), line.equal, line.only_raw, line.only_rollup) == (count, line.keys, 0, 0)
    assert (line.largest_count_delta, [one.differences for one in found]) == (0, [[]] * count)
    assert line.largest_average_delta < 1e-9
    assert {key for one in found for key in one.lines} == {
        (metric, dimension)
        for metric in (
            "resolutions_count",
            "resolution_time",
            "first_response",
            "reply_time",
            "bot_resolutions_count",
            "bot_handoffs_count",
        )
        for dimension in ("account", "agent", "inbox")
    }
    assert not [table for table in desk.tables() if table.startswith("staging")]


@pytest.mark.slow
def test_compare__every_stored_row__is_looked_at(desk: Product) -> None:
    stored = desk.clickhouse.scalar(
        "SELECT count() FROM reporting_rollups FINAL WHERE date BETWEEN '2026-03-06' AND '2026-03-10'"
    )

    assert total(compare(desk, DAYS, "day")).keys == stored


@pytest.mark.slow
def test_compare__same_conversation_on_two_days_of_a_week__is_no_difference(empty_product: Product) -> None:
    add_account(empty_product)
    for number in (0, 0, 1):
        moment = at("2026-03-09 15:00") + timedelta(days=number)
        add_event(empty_product, "conversation_bot_handoff", moment, conversation_id=5)
    build(empty_product, date(2026, 3, 9), date(2026, 3, 10))

    (found,) = compare(empty_product, Days(date(2026, 3, 9), date(2026, 3, 10)))

    assert (found.lines, found.differences) == ({("bot_handoffs_count", "account"): Line(1, 1)}, [])


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("UPDATE count = count + 1", Line(2, 0, 0, 0, 1, 2.5)),
        *rarely(("UPDATE sum_value = sum_value + 0.05", Line(2, 0, 0, 0, 0, 0.025))),
        *rarely(
            ("UPDATE sum_value_business_hours = sum_value_business_hours - 0.05", Line(2, 0, 0, 0, 0, 0.025)),
            ("UPDATE sum_value = sum_value + 0.01", Line(2, 2, 0, 0, 0, 0.005)),
            ("DELETE", Line(2, 0, 2, 0, 2, 7.5)),
        ),
    ],
)
def test_compare__rollup_was_spoilt__is_seen_exactly(empty_product: Product, change: str, line: Line) -> None:
    add_account(empty_product)
    for value in (5, 10):
        moment = at("2026-03-08 15:00")
        add_event(empty_product, "reply_time", moment, value=value, value_in_business_hours=value, user_id=3)
    build(empty_product, DAY, DAY)
    empty_product.clickhouse.execute(f"ALTER TABLE reporting_rollups {change} WHERE 1 SETTINGS mutations_sync = 2")

    (found,) = compare(empty_product, Days(DAY, DAY))

    seen = found.total
    assert seen.largest_average_delta == pytest.approx(line.largest_average_delta)
    assert (seen.keys, seen.equal, seen.only_raw, seen.only_rollup, seen.largest_count_delta) == (
        line.keys,
        line.equal,
        line.only_raw,
        line.only_rollup,
        line.largest_count_delta,
    )
    # The ledger vouches for what was changed behind its back.
    assert found.causes == {}
    assert len(found.differences) == line.keys - line.equal


@pytest.mark.slow
def test_compare__rollup_of_nothing__is_seen(empty_product: Product) -> None:
    add_account(empty_product)
    add_event(empty_product, "reply_time", at("2026-03-08 15:00"), value=5)
    build(empty_product, DAY, DAY)
    empty_product.clickhouse.execute(
        "INSERT INTO reporting_rollups SELECT * REPLACE (99 AS dimension_id) FROM reporting_rollups"
    )

    (found,) = compare(empty_product, Days(DAY, DAY))

    assert found.total == Line(2, 1, 0, 1, 1, 5.0)
    assert [(one.dimension_id, one.raw, one.rollup) for one in found.differences] == [(99, None, Figure(1, 5.0, 0.0))]


def test_compare__difference__names_the_key_and_both_sides(empty_product: Product) -> None:
    add_account(empty_product)
    add_event(empty_product, "reply_time", at("2026-03-08 15:00"), value=5, value_in_business_hours=3, inbox_id=8)
    build(empty_product, DAY, DAY)
    empty_product.clickhouse.execute(
        "ALTER TABLE reporting_rollups UPDATE count = 2 WHERE dimension_type = 'inbox' SETTINGS mutations_sync = 2"
    )

    (found,) = compare(empty_product, Days(DAY, DAY))

    assert found.differences == [
        Difference(Days(DAY, DAY), 1, "inbox", 8, "reply_time", Figure(1, 5.0, 3.0), Figure(2, 5.0, 3.0))
    ]


@pytest.mark.slow
def test_compare__nan_in_a_rollup__is_a_difference(empty_product: Product) -> None:
    add_account(empty_product)
    add_event(empty_product, "reply_time", at("2026-03-08 15:00"), value=5)
    build(empty_product, DAY, DAY)
    empty_product.clickhouse.execute(
        "ALTER TABLE reporting_rollups UPDATE sum_value = nan WHERE 1 SETTINGS mutations_sync = 2"
    )

    (found,) = compare(empty_product, Days(DAY, DAY))

    assert (found.total.keys, found.total.equal, len(found.differences)) == (1, 0, 1)


def test_compare__days_that_were_never_rolled_up__are_the_cause(desk: Product) -> None:
    desk.execute("DELETE FROM analytics_pipeline.reporting_coverage WHERE date = '2026-03-07'")
    desk.clickhouse.execute(
        "ALTER TABLE reporting_rollups DELETE WHERE date = '2026-03-07' SETTINGS mutations_sync = 2"
    )

    before, after = compare(desk)

    assert (bool(before.differences), before.causes) == (True, {"never": 2})
    assert (after.differences, after.causes) == ([], {})


def test_compare__zone_changed_since__is_the_cause_and_only_of_that_account(desk: Product) -> None:
    add_account(desk, 1, "Asia/Kathmandu")

    found = compare(desk, DAYS, "day")

    assert {difference.account_id for one in found for difference in one.differences} == {1}
    assert [one.causes for one in found] == [{"timezone": 1}] * 5
    assert total(compare(desk, DAYS, "day", 2)) == total(compare(desk, DAYS, "day", 2))
    assert not [one for one in compare(desk, DAYS, "day", 2) if one.differences]


def test_compare__events_copied_since__are_the_cause(desk: Product) -> None:
    desk.execute("DELETE FROM reporting_events WHERE account_id = 1 AND created_at::date = '2026-03-08'")
    copy(desk, DAY, DAY)

    causes = [one.causes for one in compare(desk, DAYS, "day")]

    assert causes == [{}, {"source": 1}, {"source": 1}, {}, {}]


def test_compare__open_day__is_left_out(desk: Product) -> None:
    zoned = accounts(desk.postgres, [1]).zoned
    now = at("2026-03-09 03:59")  # 23:59 of the 8th in New York

    found = list(Comparison(desk.postgres, desk.clickhouse, zoned, now).compare(DAYS, "day"))

    assert [bool(one.total.keys) for one in found] == [True, True, False, False, False]


def test_compare__nothing_there__compares_nothing(empty_product: Product) -> None:
    add_account(empty_product)

    assert compare(empty_product) == [Compared(period, {}, [], {}) for period in periods(DAYS, "week")]


@pytest.mark.parametrize(
    ("by", "found"),
    [
        ("day", [(n, n) for n in range(6, 11)]),
        ("week", [(6, 7), (8, 10)]),
        ("month", [(6, 10)]),
    ],
)
def test_periods__of_a_range__begin_on_sunday_and_are_cut_at_the_ends(by: By, found: list[tuple[int, int]]) -> None:
    expected = [Days(date(2026, 3, first), date(2026, 3, last)) for first, last in found]
    assert list(periods(DAYS, by)) == expected


def test_periods__of_months__are_the_calendars() -> None:
    found = periods(Days(date(2025, 12, 31), date(2026, 3, 1)), "month")

    assert [(one.first.isoformat(), len(one)) for one in found] == [
        ("2025-12-31", 1),
        ("2026-01-01", 31),
        ("2026-02-01", 28),
        ("2026-03-01", 1),
    ]
