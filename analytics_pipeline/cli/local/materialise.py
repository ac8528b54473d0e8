"""Materialises the whole asset graph for one day in this process, recorded in the Dagster instance like any run."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import dagster as dg
from dagster import DagsterEventType, EventLogEntry

from analytics_pipeline.definitions import defs
from analytics_pipeline.orchestration.partitions import range_tags

# The events are in the instance and in the summary; on the terminal they would drown both.
_SILENT = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Materialised:
    """Outcome of one asset: seconds and metadata when it is done, the error when it failed."""

    asset: str
    state: Literal["done", "skipped", "failed"]
    seconds: float
    metadata: dict[str, Any]
    error: str = ""


def materialise(day: date, progress: Progress) -> list[Materialised]:
    """Materialise every asset for `day` in the instance of DAGSTER_HOME; `progress` hears (asset, done, total).

    Assets that share partitions share a run. Those that have tomorrow too, which has begun somewhere, get both days.
    """
    graph = defs().resolve_asset_graph()
    assets = [key for key in graph.toposorted_asset_keys if key in graph.executable_asset_keys]
    runs: dict[dg.PartitionsDefinition[str] | None, list[dg.AssetKey]] = {}
    for key in assets:
        runs.setdefault(graph.get(key).partitions_def, []).append(key)
    names = [key.to_user_string() for key in assets]
    with dg.DagsterInstance.get() as instance:
        return [
            outcome
            for partitions, keys in runs.items()
            for outcome in _run(
                instance, _tags(day, partitions), keys, lambda name: progress(name, names.index(name), len(names))
            )
        ]


def _tags(day: date, partitions: dg.PartitionsDefinition[str] | None) -> dict[str, str]:
    last = partitions.get_last_partition_key() if partitions else None
    return range_tags(day, max(day, date.fromisoformat(last or day.isoformat())))


def _run(
    instance: dg.DagsterInstance, tags: Mapping[str, str], keys: Sequence[dg.AssetKey], started: Callable[[str], None]
) -> list[Materialised]:
    names = [key.to_user_string() for key in keys]
    run_id = str(uuid.uuid4())

    def listen(entry: EventLogEntry) -> None:
        event = entry.dagster_event
        if event and event.step_key in names and event.event_type is DagsterEventType.STEP_START:
            started(event.step_key)

    instance.add_event_listener(run_id, listen)
    result = (
        defs()
        .resolve_implicit_global_asset_job_def()
        .execute_in_process(
            instance=instance,
            tags=dict(tags),
            asset_selection=list(keys),
            run_id=run_id,
            raise_on_error=False,
            run_config=_SILENT,
        )
    )
    return [_outcome(result, name) for name in names]


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
    materializations = result.asset_materializations_for_node(asset)
    if not materializations:
        return Materialised(asset, "skipped", 0.0, {})
    seconds = (
        sum(e.step_success_data.duration_ms for e in result.get_step_success_events() if e.step_key == asset) / 1000
    )
    return Materialised(
        asset, "done", seconds, {key: value.value for key, value in materializations[0].metadata.items()}
    )
