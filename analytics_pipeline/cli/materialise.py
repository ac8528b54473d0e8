"""Materialises the whole asset graph for one day in this process, recorded in the Dagster instance like any run."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import dagster as dg
from dagster import DagsterEventType, EventLogEntry

from analytics_pipeline.definitions import defs

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Materialised:
    """What became of one asset: seconds and metadata when it is done, the error when it failed."""

    asset: str
    state: Literal["done", "skipped", "failed"]
    seconds: float
    metadata: dict[str, Any]
    error: str = ""


def materialise(day: date, progress: Progress) -> list[Materialised]:
    """Materialise every asset for `day` in the instance of DAGSTER_HOME; `progress` hears (asset, done, total)."""
    definitions = defs()
    job = definitions.resolve_implicit_global_asset_job_def()
    graph = definitions.resolve_asset_graph()
    assets = [key.to_user_string() for key in graph.toposorted_asset_keys if key in graph.executable_asset_keys]
    run_id = str(uuid.uuid4())

    def listen(entry: EventLogEntry) -> None:
        event = entry.dagster_event
        if event and event.step_key in assets and event.event_type is DagsterEventType.STEP_START:
            progress(event.step_key, assets.index(event.step_key), len(assets))

    with dg.DagsterInstance.get() as instance:
        instance.add_event_listener(run_id, listen)
        result = job.execute_in_process(
            instance=instance,
            partition_key=day.isoformat(),
            run_id=run_id,
            raise_on_error=False,
            # The events are in the instance and in the summary; on the terminal they would drown both.
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
    return [_outcome(result, asset) for asset in assets]


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
