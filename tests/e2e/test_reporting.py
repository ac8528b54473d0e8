"""Reporting under a real daemon: new and late rows reach the rollups by themselves, and kills leave nothing wrong."""

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.e2e.dagster_server import DagsterServer, dagster_server, wait_for
from tests.e2e.test_kill import Death, die
from tests.flows.reporting.desk import Rollup, add_account, add_event, at, build, covered, rollups
from tests.product import Product, today

# A tick finds the rows, a run copies them, the next tick sees the copy, a run computes: a fraction of this.
FRESH_WITHIN = 90


@pytest.fixture
def server(empty_product: Product, tmp_path: Path) -> Iterator[DagsterServer]:
    add_account(empty_product, 1, "Asia/Kolkata")
    with dagster_server(dict(os.environ), tmp_path / "dagster.log") as running:
        yield running


def counts(product: Product) -> dict[str, int]:
    """Events of the account by local date."""
    return {key[1]: row[0] for key, row in rollups(product).items() if key[2] == "account"}


def test_reporting__rows_arrive_while_the_daemon_runs__reach_the_rollups(
    empty_product: Product, server: DagsterServer
) -> None:
    old = today() - timedelta(days=40)
    build(empty_product, old, old)
    noon = at(f"{today()} 00:30")
    add_event(empty_product, "first_response", noon, value=1)
    wait_for(lambda: counts(empty_product), lambda seen: seen == {str(today()): 1}, FRESH_WITHIN)

    add_event(empty_product, "first_response", at(f"{old} 00:30"), value=1)
    add_event(empty_product, "first_response", noon + timedelta(seconds=1), value=1)

    expected = {str(today()): 2, str(old): 1}
    wait_for(lambda: counts(empty_product), lambda seen: seen == expected, FRESH_WITHIN)


_CLICKHOUSE = "analytics_pipeline.resources.clickhouse.client:ClickHouse"
_FIGURES = "analytics_pipeline.flows.held_tables:MonthTable"
_COVERAGE = "analytics_pipeline.flows.reporting.coverage:"
DEATHS = [
    Death("reporting_events", "before", f"{_CLICKHOUSE}.replace_partitions"),
    Death("reporting_events", "after", f"{_CLICKHOUSE}.replace_partitions", is_visible=True),
    Death("reporting_rollups", "before", f"{_COVERAGE}forget_others"),
    Death("reporting_rollups", "before", f"{_FIGURES}.show"),
    Death("reporting_rollups", "after", f"{_FIGURES}.show", is_visible=True),
    Death("reporting_rollups", "before", f"{_COVERAGE}record", is_visible=True),
]


@pytest.mark.parametrize(
    "death", [pytest.param(d, id=str(d), marks=() if d == DEATHS[-1] else pytest.mark.slow) for d in DEATHS]
)
def test_run__killed__never_vouches_for_wrong_rollups_and_the_next_run_repairs(
    empty_product: Product, death: Death
) -> None:
    day = today() - timedelta(days=3)
    add_account(empty_product, 1, "America/New_York")
    add_event(empty_product, "first_response", at(f"{day} 12:00"), value=1)
    before = build(empty_product, day, day)
    add_event(empty_product, "first_response", at(f"{day} 13:00"), value=2)
    if death.asset == "reporting_rollups":
        assert empty_product.materialise("reporting_events", day=day).success
        add_account(empty_product, 1, "Etc/UTC")

    die(death, day)

    assert rollups(empty_product) in (before, _after(str(day)))
    if death.asset == "reporting_rollups":
        # The zone has changed: no ledger may say that the old rollups are of the new zone, or the new ones of the old.
        assert {row[2] for row in covered(empty_product)} <= {"America/New_York"}
        assert rollups(empty_product) == before or covered(empty_product) == []
    assert build(empty_product, day, day) == _after(str(day))


def _after(day: str) -> Rollup:
    return {(1, day, "account", 1, "first_response"): (2, 3, 0)}
