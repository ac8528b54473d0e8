"""Figures by month: a day is replaced among its neighbours, and a month or a day that has gone is noticed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta, timezone

import pytest

from analytics_pipeline.flows.held_days import lost_days, note_losses, swap_days, unheld_days
from analytics_pipeline.flows.held_tables import MonthTable
from tests.product import Product
from tests.thorough import rarely

TABLE = MonthTable("figures", lease="figures", key=("tenant", "date"))
FEBRUARY = [date(2026, 2, 1) + timedelta(days=number) for number in range(28)]
FIRST, SECOND, LAST = FEBRUARY[0], FEBRUARY[1], FEBRUARY[-1]
MARCH = date(2026, 3, 1)
Rows = dict[tuple[str, date], int]


@pytest.fixture
def figures(empty_product: Product) -> Product:
    """Two tenants' figures of two days of February and one of March."""
    empty_product.clickhouse.execute(
        "CREATE TABLE figures (tenant String, date Date, v UInt8, computed_at DateTime64(3, 'UTC'), is_deleted UInt8)"
        " ENGINE = ReplacingMergeTree(computed_at, is_deleted) PARTITION BY toYYYYMM(date) ORDER BY (tenant, date)"
    )
    swap(empty_product, [FIRST, SECOND], {(tenant, day): 1 for tenant in "ab" for day in (FIRST, SECOND)})
    swap(empty_product, [MARCH], {("a", MARCH): 1})
    return empty_product


@contextmanager
def swapping(product: Product, days: Sequence[date], rows: Rows) -> Iterator[None]:
    """The body runs when the days have been swapped and not been recorded yet."""
    with product.clickhouse.staging("figures") as staging, product.postgres.lease(TABLE.lease):
        version = TABLE.next_version(product.clickhouse, days)
        product.clickhouse.insert_rows(
            staging,
            ["tenant", "date", "v", "computed_at"],
            [[tenant, day, value, version] for (tenant, day), value in rows.items()],
        )
        with product.postgres.connect() as ledger:
            swap_days(product.clickhouse, ledger, TABLE, staging, days)
            yield


def swap(product: Product, days: Sequence[date], rows: Rows) -> None:
    with swapping(product, days, rows):
        pass


def held(product: Product) -> Rows:
    rows = product.clickhouse.query("SELECT tenant, date, v FROM figures FINAL ORDER BY tenant, date")
    assert len({row[:2] for row in rows}) == len(rows)
    return {(tenant, day): value for tenant, day, value in rows}


def unheld(product: Product, thoroughly: Sequence[date] = ()) -> set[date]:
    return set(unheld_days(product.postgres, product.clickhouse, TABLE, thoroughly))


BEFORE = {("a", FIRST): 1, ("b", FIRST): 1, ("a", SECOND): 1, ("b", SECOND): 1, ("a", MARCH): 1}


@pytest.mark.parametrize("times", [*rarely(1), 2])
def test_swap__a_day__replaces_it_alone_and_what_vanished_is_gone(figures: Product, times: int) -> None:
    for _ in range(times):
        swap(figures, [SECOND], {("a", SECOND): 2})

    assert held(figures) == {("a", FIRST): 1, ("b", FIRST): 1, ("a", SECOND): 2, ("a", MARCH): 1}
    assert unheld(figures, [*FEBRUARY, MARCH]) == set()


def test_swap__a_day_becomes_empty__and_comes_back(figures: Product) -> None:
    swap(figures, [SECOND], {})
    assert held(figures) == {("a", FIRST): 1, ("b", FIRST): 1, ("a", MARCH): 1}
    assert unheld(figures, [*FEBRUARY, MARCH]) == set()

    swap(figures, [SECOND], {("a", SECOND): 1, ("b", SECOND): 1})

    assert (held(figures), unheld(figures, [*FEBRUARY, MARCH])) == (BEFORE, set())


def test_swap__an_empty_day_whose_tombstones_are_merged__is_held_again(figures: Product) -> None:
    """Nothing is left to replace, so nothing new tells the day from what it was before: it still is as recorded."""
    swap(figures, [SECOND], {})
    figures.clickhouse.execute("OPTIMIZE TABLE figures FINAL")

    swap(figures, [SECOND], {})
    assert unheld(figures, [*FEBRUARY, MARCH]) == set()
    swap(figures, [FIRST, SECOND], {("a", FIRST): 2})

    assert held(figures) == {("a", FIRST): 2, ("a", MARCH): 1}
    assert unheld(figures, [*FEBRUARY, MARCH]) == set()


def test_swap__rows_of_a_clock_that_was_ahead__are_replaced_all_the_same(figures: Product) -> None:
    ahead = datetime.now(timezone.utc) + timedelta(days=1)
    figures.clickhouse.insert_rows("figures", ["tenant", "date", "v", "computed_at"], [["a", FIRST, 9, ahead]])

    swap(figures, [FIRST], {("b", FIRST): 2})

    assert held(figures) == {key: value for key, value in BEFORE.items() if key[1] != FIRST} | {("b", FIRST): 2}


def test_swap__all_days_of_a_month__leaves_nothing_to_merge(figures: Product) -> None:
    swap(figures, FEBRUARY, {("c", LAST): 3})

    assert held(figures) == {("a", MARCH): 1, ("c", LAST): 3}
    assert figures.clickhouse.scalar("SELECT count() FROM figures WHERE date < '2026-03-01'") == 1
    assert unheld(figures, [*FEBRUARY, MARCH]) == set()


def test_swap__days_of_two_months__are_refused_and_nothing_changes(figures: Product) -> None:
    with pytest.raises(ValueError, match="are not of one month"):
        swap(figures, [LAST, MARCH], {("a", LAST): 1})

    assert (held(figures), unheld(figures, [*FEBRUARY, MARCH])) == (BEFORE, set())


def test_held__month_was_dropped__all_its_days_are_lost_and_no_other(figures: Product) -> None:
    figures.clickhouse.execute("ALTER TABLE figures DROP PARTITION 202602")

    note_losses(figures.postgres, figures.clickhouse, TABLE)

    assert lost_days(figures.postgres, TABLE) == {FIRST, SECOND}


@pytest.mark.slow
def test_held__month_of_an_older_backup__its_newer_days_are_lost(figures: Product) -> None:
    figures.clickhouse.execute("CREATE TABLE backup AS figures")
    figures.clickhouse.execute("ALTER TABLE backup ATTACH PARTITION 202602 FROM figures")
    swap(figures, [SECOND], {("a", SECOND): 2})
    assert unheld(figures) == set()

    figures.clickhouse.execute("ALTER TABLE figures REPLACE PARTITION 202602 FROM backup")

    assert unheld(figures) == {SECOND}


def test_held__some_rows_of_a_day_were_deleted__are_found_by_a_close_look(figures: Product) -> None:
    figures.clickhouse.execute("ALTER TABLE figures DELETE WHERE v = 1 AND tenant = 'b' SETTINGS mutations_sync = 2")

    assert (unheld(figures), unheld(figures, [SECOND])) == (set(), {SECOND})


def test_held__process_dies_between_swap_and_ledger__nobody_vouches_for_the_day(figures: Product) -> None:
    with pytest.raises(KeyboardInterrupt), swapping(figures, [FIRST], {("a", FIRST): 5}):
        raise KeyboardInterrupt

    note_losses(figures.postgres, figures.clickhouse, TABLE)
    assert lost_days(figures.postgres, TABLE) == {FIRST}
    swap(figures, [FIRST], {("a", FIRST): 1, ("b", FIRST): 1})
    assert (held(figures), lost_days(figures.postgres, TABLE)) == (BEFORE, set())
