"""Materialises assets in this process, recorded in the Dagster instance like any run."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import dagster as dg
from dagster import DagsterEventType, EventLogEntry

from analytics_pipeline.definitions import defs
from analytics_pipeline.orchestration.partitions import range_tags

# The events are in the instance and in the summary; on the terminal they would drown both.
_SILENT = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
Progress = Callable[[str, int], None]


@dataclass(frozen=True)
class Materialised:
    """Outcome of one asset: seconds and metadata when it is done, the error when it failed."""

    asset: str
    state: Literal["done", "skipped", "failed"]
    seconds: float
    metadata: dict[str, Any]
    error: str = ""


def assets_by_run() -> list[tuple[str, ...]]:
    """All assets, in groups that share partitions and therefore a run; what reads comes after what is read."""
    graph = defs().resolve_asset_graph()
    groups: dict[dg.PartitionsDefinition[str] | None, list[str]] = {}
    for key in graph.toposorted_asset_keys:
        if key in graph.executable_asset_keys:
            groups.setdefault(graph.get(key).partitions_def, []).append(key.to_user_string())
    return [tuple(assets) for assets in groups.values()]


def materialise(assets: Sequence[str], first: date, progress: Progress) -> list[Materialised]:
    """Materialise these assets, which share partitions, from `first` to their newest day, by one run.

    The run is recorded in the instance of DAGSTER_HOME; `progress` hears an asset that begins, and how many are done.
    """
    keys, run_id = [dg.AssetKey(asset) for asset in assets], str(uuid.uuid4())

    def listen(entry: EventLogEntry) -> None:
        event = entry.dagster_event
        step = event.step_key if event and event.event_type is DagsterEventType.STEP_START else None
        if step and step in assets:
            progress(step, assets.index(step))

    with dg.DagsterInstance.get() as instance:
        instance.add_event_listener(run_id, listen)
        result = (
            defs()
            .resolve_implicit_global_asset_job_def()
            .execute_in_process(
                instance=instance,
                tags=_tags(keys[0], first),
                asset_selection=keys,
                run_id=run_id,
                raise_on_error=False,
                run_config=_SILENT,
            )
        )
    return [_outcome(result, asset) for asset in assets]


def _tags(asset: dg.AssetKey, first: date) -> dict[str, str]:
    partitions = defs().resolve_asset_graph().get(asset).partitions_def
    if partitions is None:
        return {}
    last = partitions.get_last_partition_key()
    return range_tags(first, date.fromisoformat(last) if last else first)


def observe_switches() -> None:
    """Let the sensor `enablement` note what is on; the runs that it asks for are the daemon's to launch later."""
    repository = defs().get_repository_def()
    with dg.DagsterInstance.get() as instance:
        context = dg.build_sensor_context(instance=instance, repository_def=repository)
        repository.get_sensor_def("enablement").evaluate_tick(context)


def _outcome(result: dg.ExecuteInProcessResult, asset: str) -> Materialised:
    if result.is_node_failed(asset):
        data = result.failure_data_for_node(asset)
        error = data.user_failure_data.description if data and data.user_failure_data else None
        return Materialised(asset, "failed", 0.0, {}, error or (data.error_display_string if data else "") or "")
    made = result.asset_materializations_for_node(asset)
    materializations = [one for one in made if one.asset_key == dg.AssetKey(asset)]
    if not materializations:
        return Materialised(asset, "skipped", 0.0, {})
    seconds = (
        sum(e.step_success_data.duration_ms for e in result.get_step_success_events() if e.step_key == asset) / 1000
    )
    return Materialised(
        asset, "done", seconds, {key: value.value for key, value in materializations[0].metadata.items()}
    )
