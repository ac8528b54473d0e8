"""What ClickHouse holds of each day beside the ledger: a loss is noticed, and a swap is never taken for one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta

import pytest

from analytics_pipeline.flows.held_days import lost_at_rest, lost_days, note_losses, swap_days, unheld_days
from analytics_pipeline.flows.held_tables import DayTable
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from tests.product import Product

DAY = date(2026, 3, 8)
DAYS = [DAY + timedelta(days=number) for number in range(3)]
TABLE = DayTable("held", "swap:held", "day", "v")


@pytest.fixture
def held(empty_product: Product) -> Product:
    """A table with a row on each of three days, swapped and recorded."""
    empty_product.clickhouse.execute(
        "CREATE TABLE held (day Date, v String) ENGINE = MergeTree PARTITION BY day ORDER BY v"
    )
    swap(empty_product, DAYS, [(day, "a") for day in DAYS])
    return empty_product


@contextmanager
def swapping(product: Product, days: Sequence[date], rows: Sequence[tuple[date, str]]) -> Iterator[None]:
    """The body runs when the days have been swapped and not been recorded yet."""
    with product.clickhouse.staging("held") as staging, product.postgres.lease(TABLE.lease):
        product.clickhouse.insert_rows(staging, ["day", "v"], [list(row) for row in rows])
        with product.postgres.connect() as ledger:
            swap_days(product.clickhouse, ledger, TABLE, staging, days)
            yield


def swap(product: Product, days: Sequence[date], rows: Sequence[tuple[date, str]]) -> None:
    with swapping(product, days, rows):
        pass


def drop(clickhouse: ClickHouse, day: date) -> None:
    clickhouse.execute(f"ALTER TABLE held DROP PARTITION ID '{day:%Y%m%d}'")


def unheld(product: Product, thoroughly: Sequence[date] = ()) -> set[date]:
    return set(unheld_days(product.postgres, product.clickhouse, TABLE, thoroughly))


def lost(product: Product) -> set[date]:
    note_losses(product.postgres, product.clickhouse, TABLE)
    return lost_days(product.postgres, TABLE)


def test_held__swapped_days_also_empty_ones__are_held(held: Product) -> None:
    swap(held, [DAY], [])
    held.clickhouse.execute("OPTIMIZE TABLE held FINAL")

    assert unheld(held, DAYS) == lost(held) == set()


def test_held__dropped_grown_and_unknown_days__are_lost_until_they_are_swapped_again(held: Product) -> None:
    drop(held.clickhouse, DAY)
    held.clickhouse.insert_rows("held", ["day", "v"], [[DAYS[1], "b"], [DAY - timedelta(days=1), "ghost"]])
    everything_but_the_last = {DAY - timedelta(days=1), *DAYS[:2]}
    assert unheld(held) == lost(held) == everything_but_the_last
    assert lost(held) == everything_but_the_last
    assert unheld(held) == set()  # it is known already

    swap(held, sorted(everything_but_the_last), [(DAY, "a")])

    assert unheld(held, DAYS) == lost(held) == set()


@pytest.mark.slow
def test_held__other_rows_as_many_as_before__are_found_by_their_contents(held: Product) -> None:
    drop(held.clickhouse, DAY)
    held.clickhouse.insert_rows("held", ["day", "v"], [[DAY, "z"]])

    assert (unheld(held), unheld(held, DAYS[1:]), unheld(held, DAYS)) == (set(), set(), {DAY})


def test_held__swap_under_way__is_no_loss_and_what_was_held_is_vouched_for(held: Product) -> None:
    vouched = "SELECT day FROM analytics_pipeline.vouched_days WHERE relation = 'held' ORDER BY day"
    first = DAYS[-1] + timedelta(days=1)

    with swapping(held, [DAY, first], [(DAY, "a"), (DAY, "b"), (first, "c")]):
        assert unheld(held, DAYS) == set()
        note_losses(held.postgres, held.clickhouse, TABLE, DAYS)
        assert held.execute(vouched) == [(day,) for day in DAYS]
        # Nobody vouches for the new one yet, and nobody has to bring it in again.
        assert (lost_days(held.postgres, TABLE), lost_at_rest(held.postgres, TABLE)) == ({first}, set())

    assert unheld(held, DAYS) == lost(held) == set()
    assert held.execute(vouched) == [(day,) for day in (*DAYS, first)]


def test_held__process_dies_between_swap_and_ledger__nobody_vouches_for_the_day(held: Product) -> None:
    with pytest.raises(KeyboardInterrupt), swapping(held, [DAY], [(DAY, "b")]):
        raise KeyboardInterrupt

    # By rows and by any ledger it looks as it was.
    assert lost(held) == lost_at_rest(held.postgres, TABLE) == {DAY}
    with held.postgres.lease(TABLE.lease):
        assert lost_days(held.postgres, TABLE) == set()  # somebody may be at it
    swap(held, DAYS[1:2], [(DAYS[1], "a")])
    with held.postgres.lease(TABLE.lease):
        assert lost_days(held.postgres, TABLE) == {DAY}  # whoever swaps knows that nobody is


def test_held__recorded_before_there_were_checksums__is_compared_by_what_is_known(held: Product) -> None:
    held.execute("UPDATE analytics_pipeline.held_days SET checksum = NULL")
    held.execute("UPDATE analytics_pipeline.held_days SET rows = NULL WHERE day = %s", DAY)
    drop(held.clickhouse, DAY)
    drop(held.clickhouse, DAYS[1])

    assert unheld(held, DAYS) == {DAYS[1]}
