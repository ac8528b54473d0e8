"""A dry run shows each day that would be done, with what would be read, and writes nothing."""

import dagster as dg
import pytest

from analytics_pipeline.orchestration.materialisation import DRY_RUN
from analytics_pipeline.orchestration.partitions import range_tags
from tests.assets.test_guards import DAY, HEAVY, contents, full
from tests.product import Product, failure_text

__all__ = ["full"]


def told(result: dg.ExecuteInProcessResult) -> list[tuple[str | None, object, object]]:
    """(day, status, rows) of each observation; there is nothing else."""
    assert result.success, failure_text(result)
    assert result.get_asset_materialization_events() == []
    found = [event.asset_observation_data.asset_observation for event in result.get_asset_observation_events()]
    return [(one.partition, one.metadata["status"].value, one.metadata["rows"].value) for one in found]


def test_dry_run__of_every_daily_asset__writes_nothing(full: Product) -> None:
    before = contents(full)

    found = {asset: told(full.materialise(asset, dry_run=True)) for asset in ("raw_identities", *HEAVY)}

    assert contents(full) == before
    assert {asset: [(day, status) for day, status, _ in days] for asset, days in found.items()} == {
        asset: [(DAY.isoformat(), DRY_RUN)] for asset in ("raw_identities", *HEAVY)
    }
    rows = {asset: days[0][2] for asset, days in found.items()}
    assert (rows["raw_identities"], rows["identity_snapshots"], rows["segment_counts"]) == (1, 1, 0)
    assert rows["daily_event_counts"] == 1


def test_dry_run__of_a_range__tells_what_a_run_reads_and_less_once_it_is_done(full: Product) -> None:
    full.execute("ANALYZE reporting_events")
    tags = range_tags(DAY, DAY)
    assert told(full.materialise("reporting_events", tags=tags, dry_run=True)) == [(DAY.isoformat(), DRY_RUN, 1)]
    assert told(full.materialise("reporting_rollups", tags=tags, dry_run=True)) == [(DAY.isoformat(), DRY_RUN, 0)]

    for asset in ("reporting_events", "identity_snapshots"):
        assert full.materialise(asset).success

    assert told(full.materialise("reporting_rollups", tags=tags, dry_run=True)) == [(DAY.isoformat(), DRY_RUN, 1)]
    assert told(full.materialise("segment_counts", dry_run=True)) == [(DAY.isoformat(), DRY_RUN, 1)]
    assert told(full.materialise("identity_snapshots", dry_run=True)) == [(DAY.isoformat(), DRY_RUN, 0)]
    assert told(full.materialise("identity_snapshots", dry_run=True, reload=True)) == [(DAY.isoformat(), DRY_RUN, 1)]


def test_dry_run__store_without_an_address__is_skipped(full: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLICKHOUSE_URL")

    result = full.materialise("reporting_rollups", dry_run=True)

    (event,) = result.get_asset_observation_events()
    assert (
        event.asset_observation_data.asset_observation.metadata["status"].value == "skipped: clickhouse_not_configured"
    )
