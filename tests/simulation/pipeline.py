"""The processes of the pipeline, as the simulation starts them: one at a time, each a cheap fork."""

import multiprocessing
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from tests.simulation.clock import Clock
from tests.simulation.faults import DIED, Fault
from tests.simulation.worker import PAUSED, Bury, Ran, Work, World, work

_LONGEST = 120.0
_DAGSTER_YAML = """
run_storage: {module: dagster._core.storage.runs, class: SqliteRunStorage, config: {base_dir: HOME}}
schedule_storage: {module: dagster._core.storage.schedules, class: SqliteScheduleStorage, config: {base_dir: HOME}}
event_log_storage:
  module: dagster._core.storage.event_log
  class: ConsolidatedSqliteEventLogStorage
  config: {base_dir: HOME}
compute_logs: {module: dagster._core.storage.noop_compute_log_manager, class: NoOpComputeLogManager}
telemetry: {enabled: false}
"""
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.simulation.preloaded", "tests.simulation.worker", "tests.simulation.readers"])


class Died(Exception):
    """The process ended before it had done its work."""


@dataclass
class Pipeline:
    """The pipeline of one history: its environment, its clock, its Dagster instance, and what its runs were."""

    environment: Mapping[str, str]
    clock: Clock
    home: Path
    ran: list[Ran] = field(default_factory=list)
    faults: int = 0
    damages: int = 0

    @classmethod
    def create(cls, environment: Mapping[str, str], clock: Clock, home: Path, template: Path) -> "Pipeline":
        """With an instance of its own: a copy of the template, whose schema takes long to make."""
        shutil.copytree(template, home)
        _configure(home)
        return cls({**environment, "DAGSTER_HOME": str(home)}, clock, home)

    def do(self, task: Work, fault: Fault | None = None, meanwhile: Callable[[], None] = lambda: None) -> Any:
        """What the task answers. `meanwhile` happens while it is held up by a slow store.

        Raises:
            Died: it ended before it had an answer.
        """
        ours, theirs = _CONTEXT.Pipe()
        world = World(self.environment, self.clock.shift, self.home)
        child = _CONTEXT.Process(target=work, args=(world, fault, task, theirs))
        child.start()
        theirs.close()
        try:
            answer = self._answer(ours, meanwhile)
        finally:
            ours.close()
            child.join(_LONGEST)
            if child.exitcode is None:
                child.kill()
                child.join()
        if answer is None:
            self.faults += 1
            assert child.exitcode == DIED, f"a process ended with {child.exitcode}"
            raise Died
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer.value, list):
            self.ran += [one for one in answer.value if isinstance(one, Ran)]
        return answer.value

    def bury(self) -> None:
        """Let Dagster notice the runs whose process has died."""
        self.do(Bury())

    @staticmethod
    def _answer(pipe: Any, meanwhile: Callable[[], None]) -> Any:
        while True:
            assert pipe.poll(_LONGEST), "a process of the pipeline never ends"
            try:
                answer = pipe.recv()
            except EOFError:
                return None
            if answer != PAUSED:
                return answer
            meanwhile()
            pipe.send("go on")


def make_template(home: Path) -> None:
    """A Dagster instance without runs."""
    home.mkdir()
    _configure(home)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.get_runs(limit=1)


def _configure(home: Path) -> None:
    (home / "dagster.yaml").write_text(_DAGSTER_YAML.replace("HOME", str(home)))
