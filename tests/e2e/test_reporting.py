"""Runs of reporting that are killed at their worst moments leave nothing wrong."""

from datetime import timedelta

import pytest

from tests.e2e.test_kill import Death, die
from tests.flows.reporting.desk import Rollup, add_account, add_event, at, build, covered, rollups
from tests.product import Product, today

_CLICKHOUSE = "analytics_pipeline.resources.clickhouse.client:ClickHouse"
_FIGURES = "analytics_pipeline.flows.held_tables:MonthTable"
_COVERAGE = "analytics_pipeline.flows.reporting.ledger:"
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
