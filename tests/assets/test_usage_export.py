"""The usage export through Dagster, into real sinks: a directory and ClickHouse."""

import json
from pathlib import Path

import dagster as dg
import pytest
import zstandard

from analytics_pipeline.definitions import defs
from tests.flows.usage_export.event_log import add_event, add_events, allow, begin
from tests.product import Product, failure_text

_SILENT = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def materialise(instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    job = defs().resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=instance, asset_selection=[dg.AssetKey("usage_export")], run_config=_SILENT, raise_on_error=False
    )


@pytest.fixture
def exporting(empty_product: Product, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Product:
    """The export is on, into `own`, our ClickHouse, and `disk`, a directory."""
    monkeypatch.setenv("EXPORT_USAGE_DATA_ENABLED", "true")
    monkeypatch.setenv("EXPORT_SITE_ID", "site-1")
    monkeypatch.setenv("EXPORT_SINKS", f"own=clickhouse: disk={(tmp_path / 'exports').as_uri()}")
    return empty_product


def exported(product: Product) -> list[int]:
    rows = product.clickhouse.query("SELECT event_log_id FROM exported_events FINAL ORDER BY event_log_id")
    return [event_id for (event_id,) in rows]


def on_disk(directory: Path) -> list[int]:
    lines = [
        line
        for path in sorted(directory.rglob("events/**/*.zst"))
        for line in zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read().splitlines()
    ]
    return sorted(json.loads(line)["event_log_id"] for line in lines)


def test_export__two_sinks__both_get_what_is_allowed_and_the_metadata_says_so(
    exporting: Product, tmp_path: Path
) -> None:
    allow(exporting, "ViewSearch")
    begin(exporting, "own", "disk")
    add_events(exporting, 3)
    add_event(exporting, "Secret")

    with dg.DagsterInstance.ephemeral() as instance:
        result = materialise(instance)
        again = materialise(instance)

    assert result.success, failure_text(result)
    assert again.success, failure_text(again)
    assert (exported(exporting), on_disk(tmp_path / "exports")) == ([1, 2, 3], [1, 2, 3])
    made = {one.asset_key.to_user_string(): one for one in result.asset_materializations_for_node("usage_export")}
    assert sorted(made) == ["exported_events", "usage_export"]
    metadata = made["usage_export"].metadata
    sinks = metadata["sinks"]
    assert isinstance(sinks, dg.TableMetadataValue)
    assert [[record.data[name] for name in ("sink", "status", "records")] for record in sinks.records] == [
        ["own", "served", 3],
        ["disk", "served", 3],
    ]
    assert {name: metadata[name].value for name in ("backlog", "backlog_own", "records", "dead_letters")} == {
        "backlog": 0,
        "backlog_own": 0,
        "records": 6,
        "dead_letters": 0,
    }


def test_export__disabled__is_skipped_and_sends_nothing(
    exporting: Product, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EXPORT_USAGE_DATA_ENABLED", "false")
    allow(exporting, "ViewSearch")
    begin(exporting, "own", "disk")
    add_events(exporting, 3)

    with dg.DagsterInstance.ephemeral() as instance:
        result = materialise(instance)
        observed = instance.fetch_observations(dg.AssetKey("usage_export"), limit=1).records

    assert result.success, failure_text(result)
    assert result.asset_materializations_for_node("usage_export") == []
    (record,) = observed
    assert record.asset_observation is not None
    assert record.asset_observation.metadata["status"].value == "skipped: export_disabled"
    assert (exported(exporting), (tmp_path / "exports").exists()) == ([], False)


def test_export__another_run_holds_the_sinks__is_skipped(exporting: Product) -> None:
    begin(exporting, "own", "disk")
    store = exporting.postgres

    with dg.DagsterInstance.ephemeral() as instance, store.lease("usage_export:own"), store.lease("usage_export:disk"):
        result = materialise(instance)
        (record,) = instance.fetch_observations(dg.AssetKey("usage_export"), limit=1).records

    assert result.success, failure_text(result)
    assert record.asset_observation is not None
    assert record.asset_observation.metadata["status"].value == "skipped: lease_held"
