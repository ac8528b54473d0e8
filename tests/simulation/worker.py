"""What a child process does: look as a sensor or a schedule does, run what is asked for, or read as a product does.

The process is a fork of a server that has the definitions loaded, so it costs milliseconds. It is the only place where
the simulation touches the pipeline.
"""

import gc
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import dagster as dg
import time_machine

from analytics_pipeline.resources.kept_sessions import kept_sessions
from tests.simulation.faults import Fault, Moments, install

PAUSED = "paused"
_SILENT = {"console": {"config": {"log_level": "CRITICAL"}}}
_LONGEST_PAUSE = 60.0


@dataclass(frozen=True)
class World:
    """Where a process lives: its environment, how far its clock is from ours, and its Dagster instance."""

    environment: Mapping[str, str]
    shift: timedelta
    home: Path


@dataclass(frozen=True)
class Ran:
    """A run of Dagster that has ended: what asked for it, its assets and days, and what became of it."""

    asked_by: str
    assets: tuple[str, ...]
    days: tuple[str, str]
    tags: Mapping[str, str]
    success: bool
    materialised: int
    failures: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """What the task of a process came to."""

    value: Any


class Work(Protocol):
    """What a process is for."""

    def do(self, instance: dg.DagsterInstance) -> Any: ...


@dataclass(frozen=True)
class Look:
    """Evaluate sensors and schedules by name, one after the other, and run at once what each asks for."""

    names: tuple[str, ...]

    def do(self, instance: dg.DagsterInstance) -> list[Ran]:
        return [_launched(instance, name, request) for name in self.names for request in _requests(instance, name)]


@dataclass(frozen=True)
class Materialise:
    """Materialise assets of a range of days by hand."""

    assets: tuple[str, ...]
    first: date
    last: date

    def do(self, instance: dg.DagsterInstance) -> list[Ran]:
        tags = {
            "dagster/asset_partition_range_start": self.first.isoformat(),
            "dagster/asset_partition_range_end": self.last.isoformat(),
        }
        return [_launched(instance, "hand", dg.RunRequest(asset_selection=_keys(self.assets), tags=tags))]


@dataclass(frozen=True)
class Bury:
    """What Dagster's run monitoring does: runs whose process has died have failed, and the failure sensor hears it."""

    def do(self, instance: dg.DagsterInstance) -> int:
        statuses = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.NOT_STARTED]
        dead = instance.get_runs(dg.RunsFilter(statuses=statuses))
        sensor: Any = _preloaded().repository().get_sensor_def("run_failures")
        for run in dead:
            event = instance.report_run_failed(run, "the process of the run has died")
            context = dg.build_run_status_sensor_context("run_failures", event, instance, run)
            sensor(context.for_run_failure())
        return len(dead)


def _preloaded() -> Any:
    """The definitions, which only the fork server and its children have: resolving them takes seconds."""
    return import_module("tests.simulation.preloaded")


def _requests(instance: dg.DagsterInstance, name: str) -> list[dg.RunRequest]:
    """What it asks for, without what has been launched already under the same key."""
    repository: Any = _preloaded().repository()
    if repository.has_sensor_def(name):
        context: Any = dg.build_sensor_context(instance=instance, repository_def=repository)
        asked = repository.get_sensor_def(name).evaluate_tick(context)
        origin = {"dagster/sensor_name": name}
    else:
        now = datetime.now(timezone.utc).replace(second=0, microsecond=0)
        context = dg.build_schedule_context(instance=instance, repository_def=repository, scheduled_execution_time=now)
        asked = repository.get_schedule_def(name).evaluate_tick(context)
        origin = {"dagster/schedule_name": name}
    return list(_new(instance, asked.run_requests or [], origin))


def _new(
    instance: dg.DagsterInstance, requests: Sequence[dg.RunRequest], origin: Mapping[str, str]
) -> Iterator[dg.RunRequest]:
    for request in requests:
        key = {"dagster/run_key": request.run_key} if request.run_key else {}
        if key and instance.get_runs_count(dg.RunsFilter(tags={**key, **origin})):
            continue
        yield request._replace(tags={**request.tags, **key, **origin})


def _launched(instance: dg.DagsterInstance, asked_by: str, request: dg.RunRequest) -> Ran:
    names = tuple(key.to_user_string() for key in request.asset_selection or ())
    names = names or _preloaded().TARGETS[asked_by]
    result = (
        _preloaded()
        .job()
        .execute_in_process(
            instance=instance,
            partition_key=request.partition_key,
            tags=dict(request.tags),
            asset_selection=_keys(names),
            run_config={**request.run_config, "loggers": _SILENT},
            raise_on_error=False,
        )
    )
    first = request.tags.get("dagster/asset_partition_range_start", request.partition_key or "")
    last = request.tags.get("dagster/asset_partition_range_end", first)
    materialised = len(result.get_asset_materialization_events())
    return Ran(asked_by, names, (first, last), request.tags, result.success, materialised, _failures(result))


def _keys(names: Sequence[str]) -> list[dg.AssetKey]:
    return [dg.AssetKey(name) for name in names]


def _failures(result: dg.ExecuteInProcessResult) -> tuple[str, ...]:
    texts = []
    for event in result.get_step_failure_events():
        data = event.step_failure_data
        description = data.user_failure_data.description if data.user_failure_data else None
        texts.append(description or data.error_display_string)
    return tuple(texts)


def work(world: World, fault: Fault | None, task: Work, pipe: Connection) -> None:
    """The child's whole life. What it sends at its end is what the task answers, or the error that it ended with."""
    log = os.open(world.home / "children.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    logging.getLogger().setLevel(logging.WARNING)
    # It lives too short for anything to be collected.
    gc.disable()
    os.environ.update(world.environment)
    install(Moments(fault, lambda: _pause(pipe)))
    # As one daemon would, all that it looks at is asked on the same sessions: opening them was a fifth of its work.
    with _clock(world.shift), kept_sessions(), dg.DagsterInstance.from_config(str(world.home)) as instance:
        try:
            pipe.send(Answer(task.do(instance)))
        except Exception as error:
            logging.getLogger().exception("the task failed")
            pipe.send(error if _is_sendable(error) else RuntimeError(f"{type(error).__name__}: {error}"))
    # Nothing is left to be put in order, and taking so many objects down takes longer than most tasks.
    os._exit(0)


def _is_sendable(error: Exception) -> bool:
    return type(error).__module__ in ("builtins", "tests.simulation.worker")


def _pause(pipe: Connection) -> None:
    """Wait until the parent has done what is to happen meanwhile."""
    pipe.send(PAUSED)
    if pipe.poll(_LONGEST_PAUSE):
        pipe.recv()


@contextmanager
def _clock(shift: timedelta) -> Iterator[None]:
    """Another time of day; what sleeps does not."""
    sleep = time.sleep
    time.sleep = lambda seconds: sleep(min(float(seconds), 0.01))
    with time_machine.travel(datetime.now(timezone.utc) + shift, tick=True):
        yield
