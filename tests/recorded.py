"""What Dagster records of a run here: no more than the pipeline and its tests read of it.

What else it writes of each run is for its pages, and costs as much as a small materialisation.
"""

from typing import Any

import dagster as dg

_READ = {
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ASSET_OBSERVATION,
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
    dg.DagsterEventType.STEP_FAILURE,
}
_OF_A_RUN = {"run_id", "run_config", "status", "tags", "asset_selection", "root_run_id", "parent_run_id"}


def is_read(_: dg.DagsterInstance, entry: dg.EventLogEntry) -> bool:
    """Instead of `DagsterInstance.should_store_event`: how a run ended, which steps failed, what it came to."""
    event = entry.dagster_event
    return event is not None and (event.is_job_event or event.event_type in _READ)


def run_of(instance: dg.DagsterInstance, job_def: dg.JobDefinition, **of_run: Any) -> dg.DagsterRun:
    """Instead of `DagsterInstance.create_run_for_job`: without the picture of the whole job and of its plan."""
    known = {name: value for name, value in of_run.items() if name in _OF_A_RUN and value is not None}
    return instance.add_run(dg.DagsterRun(job_def.name, **known))
