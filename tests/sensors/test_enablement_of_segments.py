"""The history of segment membership: today's snapshot and counts."""

import dagster as dg
import pytest

from tests.product import KEY, Product, condition, document, today
from tests.sensors.enablement import days, launch, make_due, newest, settle, tick
from tests.thorough import rarely


@pytest.fixture
def product(ai_product: Product) -> Product:
    return ai_product


def test_segments__flag_on__asks_for_todays_snapshot_and_counts(
    empty_product: Product, instance: dg.DagsterInstance
) -> None:
    empty_product.add_organisation()
    empty_product.add_project()
    empty_product.add_environment()
    empty_product.add_segment(1, condition("EQUAL", "plan", "pro"))
    empty_product.put(document("alice", plan="pro"))

    (request,) = tick(instance)
    assert "dagster/priority" not in request.tags
    assert settle(instance) == [("segments:organisation:1:1:1", days(today(), today()))]
    assert newest(empty_product, "organisation:1", "segments").state == "completed"
    assert empty_product.current() == {(1, 100): (1, "counted")}
    assert settle(instance) == []

    empty_product.set_flag(1, enabled=False)
    assert settle(instance) == []
    empty_product.set_flag(1, enabled=True)
    assert settle(instance) == [("segments:organisation:1:2:1", days(today(), today()))]


@pytest.mark.slow
@pytest.mark.parametrize("table", ["identities", *rarely("segment_counts")])
def test_segments__clickhouse_loses_the_day_before_it_is_seen_complete__is_brought_in_again(
    empty_product: Product, instance: dg.DagsterInstance, table: str
) -> None:
    empty_product.add_organisation()
    empty_product.add_project()
    empty_product.add_environment()
    empty_product.add_segment(1, condition("EQUAL", "plan", "pro"))
    empty_product.put(document("alice", plan="pro"))
    (request,) = tick(instance)
    assert launch(instance, request).success
    empty_product.clickhouse.execute(f"TRUNCATE TABLE {table}")

    assert tick(instance) == []
    make_due(empty_product)
    assert settle(instance) == [("segments:organisation:1:1:2", days(today(), today()))]

    assert newest(empty_product, "organisation:1", "segments").state == "completed"
    assert (set(empty_product.snapshot()), empty_product.history()) == ({(KEY, "alice")}, {(1, 100): (1, "counted")})
