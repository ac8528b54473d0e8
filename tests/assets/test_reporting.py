"""Reporting through Dagster: what a run stores, shows, skips and refuses."""

from datetime import date, timedelta
from typing import Any

import dagster as dg
import pytest

from analytics_pipeline.flows.reporting.registry import REGISTRY
from analytics_pipeline.orchestration.partitions import range_tags
from tests.flows.reporting.desk import add_account, add_event, at, covered, rollups
from tests.product import Product, failure_text, today

DAY = date(2026, 2, 11)
EVENTS, ROLLUPS = "reporting_events", "reporting_rollups"


@pytest.fixture
def desk(empty_product: Product) -> Product:
    add_account(empty_product)
    add_event(empty_product, "first_response", at("2026-02-11 15:00"), value=100, value_in_business_hours=60, user_id=7)
    add_event(empty_product, "first_response", at("2026-02-12 04:00"), value=20)
    return empty_product


def metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str | None, dict[str, Any]]:
    """Each materialised partition's metadata."""
    return {
        event.partition: {
            key: value.value for key, value in event.step_materialization_data.materialization.metadata.items()
        }
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey(asset)
    }


def test_events__range__is_one_run_with_each_days_own_figures(desk: Product) -> None:
    add_event(desk, "first_response", at("2026-02-11 16:00"), account_id=None)
    last = DAY + timedelta(days=2)

    result = desk.materialise(EVENTS, tags=range_tags(DAY, last))

    assert result.success, failure_text(result)
    found = metadata(result, EVENTS)
    shown = {day: (one["dagster/partition_row_count"], one["dead_letters"]) for day, one in found.items()}
    assert shown == {"2026-02-11": (1, 1), "2026-02-12": (1, 0), "2026-02-13": (0, 0)}
    schema = found["2026-02-11"]["dagster/column_schema"]
    assert [column.name for column in schema.columns][:2] == ["id", "name"]
    assert desk.clickhouse.scalar("SELECT count() FROM reporting_events") == 2


def test_events__view_meets_a_value_that_it_cannot_cast__fail_at_once_and_show_no_value(desk: Product) -> None:
    desk.execute("ALTER TABLE reporting_events RENAME TO base")
    desk.execute("ALTER TABLE base ALTER COLUMN name TYPE text")
    desk.execute("UPDATE base SET name = 'jane@example.com' WHERE user_id IS NULL")
    desk.execute(
        "CREATE VIEW reporting_events AS SELECT id, name, account_id, inbox_id, user_id, value,"
        " value_in_business_hours, CASE WHEN user_id IS NULL THEN name::bigint END AS conversation_id,"
        " event_start_time, event_end_time, created_at, updated_at FROM base"
    )

    result = desk.materialise(EVENTS, tags=range_tags(DAY, DAY + timedelta(days=1)))

    assert failure_text(result) == 'Postgres: invalid input syntax for type bigint: "…"'
    (failure,) = result.get_step_failure_events()
    assert "jane@example.com" not in repr(failure)


def test_rollups__day__is_computed_covered_and_charted(desk: Product) -> None:
    desk.materialise(EVENTS, tags=range_tags(DAY, DAY + timedelta(days=1)))

    result = desk.materialise(ROLLUPS, day=DAY)

    assert result.success, failure_text(result)
    found = metadata(result, ROLLUPS)["2026-02-11"]
    assert rollups(desk) == {
        (1, "2026-02-11", "account", 1, "first_response"): (2, 120, 60),
        (1, "2026-02-11", "agent", 7, "first_response"): (1, 100, 60),
    }
    assert covered(desk) == [(1, "2026-02-11", "America/New_York", True)]
    assert (found["dagster/partition_row_count"], found["accounts"], found["complete"]) == (2, 1, True)
    assert found["registry_version"] == REGISTRY.version
    assert found["metrics"].splitlines()[2] == "| first_response | 2 | 60 s | `▁▁▁▁▁▁▁▁▁▁▁▁▁█` |"


def test_metadata__range_of_days__of_a_day_are_the_days_own_and_of_the_run_say_so(desk: Product) -> None:
    """What stands on a day's page without `run_` must be about that day, or be the table's columns."""
    last = DAY + timedelta(days=1)
    copied = metadata(desk.materialise(EVENTS, tags=range_tags(DAY, last)), EVENTS)

    rolled = metadata(desk.materialise(ROLLUPS, tags=range_tags(DAY, last)), ROLLUPS)

    own = {day: {key for key in found if not key.startswith(("run_", "dagster/"))} for day, found in rolled.items()}
    of_a_day = {"accounts", "complete", "registry_version"}
    assert own == {str(DAY): of_a_day, str(last): of_a_day | {"metrics"}}
    assert {key for found in copied.values() for key in found if not key.startswith(("run_", "dagster/"))} == {
        "dead_letters",
        "newest_change",
    }
    assert copied[str(DAY)]["run_clickhouse_statements"] == copied[str(last)]["run_clickhouse_statements"]


def test_rollups__tomorrow__is_a_partition_because_some_zones_are_there(desk: Product) -> None:
    """The asset graph of the run holds one partition more than UTC has begun."""
    tomorrow = today() + timedelta(days=1)

    assert desk.materialise(ROLLUPS, day=tomorrow).success
    assert covered(desk) == [(1, tomorrow.isoformat(), "America/New_York", False)]


def test_rollups__account_with_an_impossible_zone__is_named_and_stops_nobody(desk: Product) -> None:
    add_account(desk, 2, "Mars/Olympus")

    found = metadata(desk.materialise(ROLLUPS, day=DAY), ROLLUPS)["2026-02-11"]

    assert (found["accounts"], found["run_accounts_with_invalid_timezone"]) == (1, 1)
    assert [record.data for record in found["run_invalid_timezones"].records] == [
        {"account": 2, "reporting_timezone": "Mars/Olympus"}
    ]


@pytest.mark.parametrize("asset", [EVENTS, ROLLUPS])
def test_assets__clickhouse_is_not_configured__skip_every_day(
    desk: Product, monkeypatch: pytest.MonkeyPatch, asset: str
) -> None:
    monkeypatch.delenv("CLICKHOUSE_URL")

    result = desk.materialise(asset, tags=range_tags(DAY, DAY + timedelta(days=1)))

    observations = [event.asset_observation_data.asset_observation for event in result.get_asset_observation_events()]
    assert result.success
    assert metadata(result, asset) == {}
    assert [(one.partition, one.metadata["status"].value) for one in observations] == [
        ("2026-02-11", "skipped: clickhouse_not_configured"),
        ("2026-02-12", "skipped: clickhouse_not_configured"),
    ]


def test_events__source_lacks_the_relation__fails_with_the_repair(desk: Product) -> None:
    desk.execute("DROP TABLE reporting_events")

    result = desk.materialise(EVENTS, day=DAY)

    assert not result.success
    assert failure_text(result) == (
        'Postgres: relation "reporting_events" does not exist.'
        " Run: analytics-pipeline doctor (it lists what the source lacks)"
    )


@pytest.mark.parametrize("asset", [EVENTS, ROLLUPS])
def test_assets__reversed_range__is_an_error(desk: Product, asset: str) -> None:
    assert not desk.materialise(asset, tags=range_tags(DAY, DAY - timedelta(days=1))).success
