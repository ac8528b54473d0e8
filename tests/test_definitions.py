"""What Dagster sees, compared with a snapshot that reads like a catalogue.

After a change that is meant: `pytest tests/test_definitions.py --snapshot-update`, and read the difference.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension

from analytics_pipeline.config import Settings
from analytics_pipeline.definitions import defs


@pytest.fixture(autouse=True)
def an_instance() -> Iterator[None]:
    """Dagster asks the newest instance of the process while it loads definitions, also one that has gone."""
    with dg.DagsterInstance.ephemeral():
        yield


@pytest.fixture
def definitions(monkeypatch: pytest.MonkeyPatch) -> dg.Definitions:
    """The definitions as they are where nothing is configured."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    return defs()


@pytest.fixture
def catalogue(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    return snapshot.use_extension(JSONSnapshotExtension)


def test_assets__of_the_definitions__are_those_of_the_catalogue(
    definitions: dg.Definitions, catalogue: SnapshotAssertion
) -> None:
    specs = sorted(definitions.resolve_all_asset_specs(), key=lambda spec: spec.key.to_user_string())

    assert {spec.key.to_user_string(): _asset(definitions, spec) for spec in specs} == catalogue


def _asset(definitions: dg.Definitions, spec: dg.AssetSpec) -> dict[str, Any]:
    node = definitions.resolve_asset_graph().get(spec.key)
    policy = node.backfill_policy
    return {
        "description": (spec.description or "").splitlines()[:1],
        "group": spec.group_name,
        "kinds": sorted(spec.kinds),
        "owners": list(spec.owners),
        "deps": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
        "partitions": _partitions(spec.partitions_def),
        "backfill policy": None if policy is None else f"{policy.policy_type.value}, {policy.max_partitions_per_run}",
        "tags": {name: value for name, value in sorted(spec.tags.items()) if not name.startswith("dagster/kind")},
        "table": spec.metadata.get("dagster/table_name"),
        "columns": _columns(spec.metadata),
        "is executable": node.is_executable,
    }


def _columns(metadata: Mapping[str, Any]) -> dict[str, list[str]]:
    lineage = metadata.get("dagster/column_lineage")
    if lineage is None:
        return {}
    assert isinstance(lineage, dg.TableColumnLineage)
    return {
        column: [f"{dep.asset_key.to_user_string()}.{dep.column_name}" for dep in deps]
        for column, deps in sorted(lineage.deps_by_column.items())
    }


def _partitions(found: dg.PartitionsDefinition[Any] | None) -> str | None:
    if found is None:
        return None
    assert isinstance(found, dg.TimeWindowPartitionsDefinition)
    return f"{found.cron_schedule} from {found.start:%Y-%m-%d %H:%M} {found.timezone}, end_offset {found.end_offset}"


def test_everything_else__of_the_definitions__is_as_in_the_catalogue(
    definitions: dg.Definitions, catalogue: SnapshotAssertion
) -> None:
    repository = definitions.get_repository_def()
    executor = definitions.executor

    assert {
        "resources": {
            name: type(resource).__name__ for name, resource in sorted((definitions.resources or {}).items())
        },
        "executor": executor.name if isinstance(executor, dg.ExecutorDefinition) else None,
        "schedules": {schedule.name: _schedule(schedule) for schedule in repository.schedule_defs},
        "sensors": {sensor.name: _sensor(sensor) for sensor in repository.sensor_defs},
        "asset checks": sorted(f"{k.asset_key.to_user_string()}:{k.name}" for k in _check_keys(definitions)),
    } == catalogue


def _schedule(schedule: dg.ScheduleDefinition) -> dict[str, Any]:
    return {
        "cron": schedule.cron_schedule,
        "timezone": schedule.execution_timezone,
        "default status": schedule.default_status.value,
        "description": (schedule.description or "").splitlines()[:1],
    }


def _sensor(sensor: dg.SensorDefinition) -> dict[str, Any]:
    return {
        "seconds between ticks": sensor.minimum_interval_seconds,
        "default status": sensor.default_status.value,
        "description": (sensor.description or "").splitlines()[:1],
    }


def _check_keys(definitions: dg.Definitions) -> list[dg.AssetCheckKey]:
    return list(definitions.resolve_asset_graph().asset_check_keys)


def test_assets__of_the_definitions__all_have_a_description_a_group_and_kinds(definitions: dg.Definitions) -> None:
    incomplete = [
        spec.key.to_user_string()
        for spec in definitions.resolve_all_asset_specs()
        if not (spec.description and spec.group_name and spec.group_name != "default" and spec.kinds)
    ]
    assert incomplete == []


def test_everything__that_dagster_lists__says_what_it_is_for(definitions: dg.Definitions) -> None:
    repository = definitions.get_repository_def()
    graph = definitions.resolve_asset_graph()
    described = {
        **{one.name: one.description for one in repository.schedule_defs},
        **{one.name: one.description for one in repository.sensor_defs},
        **{one.name: one.description for one in repository.get_all_jobs() if one.name.endswith("_history")},
        **{key.name: graph.get_check_spec(key).description for key in graph.asset_check_keys},
    }

    assert [name for name, description in described.items() if not description] == []
    assert len(described) > 20


def test_schedules__that_tick_each_hour_or_more__are_not_called_daily(definitions: dg.Definitions) -> None:
    schedules = definitions.get_repository_def().schedule_defs

    assert len(schedules) > 4
    assert [one.name for one in schedules if "daily" in one.name and str(one.cron_schedule).split()[1] == "*"] == []


def test_partitions__start_date_configured__is_their_first_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANALYTICS_START_DATE", "2025-03-04")

    starts = {
        spec.partitions_def.get_first_partition_key()
        for spec in defs().resolve_all_asset_specs()
        if spec.partitions_def is not None
    }
    assert starts == {"2025-03-04"}


def test_partitions__flow_with_a_day_of_its_own__begin_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """What can never be had, such as identities of days before the first capture, is not offered as missing."""
    monkeypatch.setenv("ANALYTICS_START_DATE", "2025-03-04")
    monkeypatch.setenv("IDENTITIES_START_DATE", "2026-05-06")

    starts = {
        spec.group_name: spec.partitions_def.get_first_partition_key()
        for spec in defs().resolve_all_asset_specs()
        if spec.partitions_def is not None
    }
    assert starts == dict.fromkeys(starts, "2025-03-04") | dict.fromkeys(("identities", "segments"), "2026-05-06")


@pytest.mark.parametrize(
    ("flows", "groups", "schedules", "sensors"),
    [
        (
            "reporting",
            {"reporting", "sources"},
            {"reporting_closed_days", "reporting_lag"},
            {"enablement", "run_failures", "reporting_late_rows"},
        ),
        (
            "segments",
            {"identities", "segments", "sources"},
            {"segments_closed_days"},
            {"enablement", "run_failures", "segment_changes"},
        ),
        ("identities", {"identities", "sources"}, set(), {"run_failures"}),
    ],
)
def test_definitions__some_flows_wanted__hold_nothing_of_the_others(
    monkeypatch: pytest.MonkeyPatch, flows: str, groups: set[str], schedules: set[str], sensors: set[str]
) -> None:
    monkeypatch.setenv("FLOWS", flows)

    repository = defs().get_repository_def()

    specs = defs().resolve_all_asset_specs()
    assert {spec.group_name for spec in specs} == groups
    assert {schedule.name for schedule in repository.schedule_defs} == schedules | {"daily_retention"}
    assert {sensor.name for sensor in repository.sensor_defs} == sensors
    keys = {spec.key for spec in specs}
    assert {check.asset_key for check in _check_keys(defs())} <= keys
    # No source that nothing reads, and none missing that something reads.
    assert {dep.asset_key for spec in specs for dep in spec.deps} | keys == keys
    jobs = {job.name for job in repository.get_all_jobs() if not job.name.startswith("__")}
    assert jobs == {"retention"} | {f"{name}_history" for name in groups & {"segments", "reporting"}}
