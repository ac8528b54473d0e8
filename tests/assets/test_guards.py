"""Heavy work is refused, with the figure and the repair, before anything is written, and done once there is room."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import dagster as dg
import pytest

from analytics_pipeline.assets.product_events import ALL
from analytics_pipeline.flows.ai_usage.daily import DailyUsage
from analytics_pipeline.flows.ai_usage.source import SOURCES
from analytics_pipeline.flows.daily_copy.copy import DayCopy
from analytics_pipeline.flows.failures import passes
from analytics_pipeline.flows.guards import (
    DiskFull,
    ReplicaBehind,
    TooManyParts,
    headroom,
    lag_trouble,
    require_room,
)
from analytics_pipeline.resources.clickhouse.room import Limits
from analytics_pipeline.sensors.ai_usage import ai_usage_late_rows
from tests import resolved
from tests.flows.product_events.events import at as days_ago
from tests.flows.product_events.events import event, store
from tests.flows.reporting.desk import add_account, add_event
from tests.product import Product, document, failure_text, today
from tests.sensors.enablement import at, settle
from tests.thorough import THOROUGH

pytestmark = pytest.mark.usefixtures("room_of_now")
DAY = today()
# Every asset that fills a table of ClickHouse by days, in an order in which each finds what it needs.
HEAVY = (
    "identity_snapshots",
    "segment_counts",
    "reporting_events",
    "reporting_rollups",
    "duo_chat_events",
    "code_suggestion_events",
    "ai_usage_daily",
    *(asset.key.to_user_string() for asset in ALL),
)
_OF_ANOTHER_KIND = {"analytics_events", "exported_events"}


@pytest.fixture
def full(product: Product) -> Product:
    """Something of today for each flow, of which nothing is in ClickHouse."""
    add_account(product)
    add_event(product, "first_response", at(DAY))
    product.add_chat(at(DAY))
    product.add_suggestion(at(DAY))
    product.put(document("alice", plan="pro"))
    store(product.clickhouse, [event(1, days_ago(0, 0), event_type="task_created")])
    product.materialise("raw_identities")
    return product


def contents(product: Product) -> dict[str, Any]:
    """What all tables of ClickHouse and all ledgers of days hold."""
    tables = {
        name: product.clickhouse.query(f"SELECT count(), sum(cityHash64(*)) FROM {name}")
        for name in sorted(product.tables() - {"schema_versions_pre", "schema_versions_post"})
        if "latest" not in name
    }
    ledgers = ("held_days", "source_copies", "reporting_coverage", "ai_usage_days", "identity_loads")
    return tables | {one: product.execute(f"SELECT * FROM analytics_pipeline.{one}") for one in ledgers}


def test_assets__that_fill_a_table_by_days__are_all_known_here(empty_product: Product) -> None:
    specs = resolved.repository().asset_graph.asset_nodes
    tables = {node.key.to_user_string() for node in specs if "dagster/table_name" in node.metadata}

    assert tables - _OF_ANOTHER_KIND == {*HEAVY}


def test_guard__too_little_disk_is_free__refuses_every_writer_which_works_once_there_is_room(
    full: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(full)
    monkeypatch.setenv("GUARD_FREE_DISK_PERCENT", "100")

    told = {asset: failure_text(full.materialise(asset)) for asset in HEAVY}

    repair = "heavy work waits for 100 % (GUARD_FREE_DISK_PERCENT). Nothing of this work was written. Give ClickHouse"
    assert {asset: text for asset, text in told.items() if repair not in text} == {}
    assert contents(full) == before

    monkeypatch.delenv("GUARD_FREE_DISK_PERCENT")
    for asset in HEAVY if THOROUGH else HEAVY[:4]:
        result = full.materialise(asset)
        assert result.success, failure_text(result)
    assert full.history() == {(1, 100): (1, "counted")}
    assert contents(full) != before


def test_guard__disk_fills_up_between_months__finished_ones_stay_and_the_rest_follows(empty_product: Product) -> None:
    last = DAY.replace(day=1)
    first = last - timedelta(days=1)
    for day in (first, last):
        empty_product.add_chat(at(day))
    for source in SOURCES:
        DayCopy(source, empty_product.postgres, empty_product.clickhouse, "test").copy(first, last)
    usage = DailyUsage(empty_product.clickhouse, empty_product.postgres, "test")
    # After the first month the table is as full as it may be.
    limit(empty_product, "ai_usage_daily", 1)

    with pytest.raises(TooManyParts, match=r"1 of 1 parts in the partition 2\d{5}, and 1 of 100,000 in all, and heavy"):
        usage.build(first, last)
    assert figures(empty_product) == [(first, 1)]
    assert {name for name in empty_product.tables() if name.startswith("staging")} == set()

    limit(empty_product, "ai_usage_daily", 1000)
    for _ in range(2):
        usage.build(first, last)
        assert figures(empty_product) == [(first, 1), (last, 1)]


def limit(product: Product, table: str, parts: int) -> None:
    product.clickhouse.execute(f"ALTER TABLE {table} MODIFY SETTING parts_to_delay_insert = {parts}")


def figures(product: Product) -> list[tuple[date, int]]:
    rows = product.clickhouse.query("SELECT date, occurrences FROM ai_usage_daily FINAL ORDER BY date")
    return [(day, count) for day, count in rows]


def test_sensor__day_is_refused__asks_again_after_a_pause(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty_product.switch_ai_usage(on=True)
    empty_product.add_chat(at(DAY))
    with dg.DagsterInstance.ephemeral() as instance:
        settle(instance)
        empty_product.add_chat(at(DAY), user=2)
        monkeypatch.setenv("GUARD_FREE_DISK_PERCENT", "100")
        asked = []
        for _ in range(4):
            requests = late_rows(instance)
            asked.append(len(requests))
            for request in requests:
                run = resolved.run(instance, list(request.asset_selection or []), tags=dict(request.tags))
                assert "GUARD_FREE_DISK_PERCENT" in failure_text(run)

    assert asked == [1, 1, 0, 0]


def late_rows(instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    context = dg.build_sensor_context(instance=instance, repository_def=resolved.repository())
    return list(ai_usage_late_rows.evaluate_tick(context).run_requests or [])


def test_metadata__of_a_run__shows_the_room_that_is_left(empty_product: Product) -> None:
    result = empty_product.materialise("duo_chat_events")

    (event_,) = result.get_asset_materialization_events()
    metadata = event_.step_materialization_data.materialization.metadata
    assert str(metadata["run_room"].value).endswith(
        "duo_chat_events has 0 of 1,000 parts in the partition -, and 0 of 100,000 in all"
    )
    assert 0 < float(str(metadata["run_free_disk_percent"].value)) < 100
    assert metadata["run_parts_percent"].value == 0


def test_limits__of_zero__ask_for_nothing(empty_product: Product) -> None:
    limit(empty_product, "ai_usage_daily", 1)
    none = replace(empty_product.clickhouse, limits=Limits(0, 0))
    strict = replace(empty_product.clickhouse, limits=Limits(100, 0))

    require_room(none, "ai_usage_daily")
    require_room(none, "no_such_table")
    with pytest.raises(DiskFull):
        require_room(strict, "ai_usage_daily")
    seen = headroom(none, "ai_usage_daily", "no_such_table")
    assert seen is not None
    (found,) = seen
    assert (found.fullest, found.parts, found.all_parts, found.slowed_at, found.refused_at) == ("", 0, 0, 1, 100_000)
    assert 0 < found.free_bytes < found.total_bytes


def test_troubles__of_parts_and_replicas__pass_and_that_of_the_disk_does_not(empty_product: Product) -> None:
    behind = lag_trouble(empty_product.postgres, 301.4)

    assert isinstance(behind, ReplicaBehind)
    assert str(behind).startswith(
        "A replica of the source is 301 s behind, and heavy work waits until it is at most 300 s"
    )
    assert [lag_trouble(empty_product.postgres, seconds) for seconds in (None, 0.0, 300.0)] == [None] * 3
    assert [passes(behind), passes(TooManyParts()), passes(DiskFull())] == [True, True, False]
