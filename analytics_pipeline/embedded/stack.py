"""The engines that the pipeline needs, on this machine: PostgreSQL, ClickHouse and AWS, started and stopped together.

They outlive the command that started them, so that the command line, Dagster and the tests can share them.
"""

import os
import secrets
import shlex
import threading
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from analytics_pipeline.embedded import dagster_home, postgres, processes
from analytics_pipeline.embedded.engines import Engine, HttpEngine
from analytics_pipeline.embedded.environment import AWS_CONFIG, environment
from analytics_pipeline.embedded.processes import Recorded, StackError
from analytics_pipeline.embedded.state import StateFile, locked, write_private

ENGINES = ("postgres", "clickhouse", "aws")
_LOCK_SECONDS = 180.0
_START_SECONDS = 60.0
_ANSWER_ATTEMPTS = 2
_STOP_SECONDS = 10.0
_STOP_SECONDS_WHEN_HANGING = 3.0

Report = Callable[[str, str], None]


@dataclass(frozen=True)
class EngineStatus:
    """`state` is `running`, `not answering` or `stopped`; the rest is empty when it is stopped."""

    name: str
    state: str
    pid: int | None = None
    address: str = ""
    started: float | None = None
    data_bytes: int = 0


class Stack:
    """The embedded engines of one home directory."""

    def __init__(self, home: Path) -> None:
        self.home = home.expanduser().resolve()
        self.logs = self.home / "logs"
        self._state = StateFile(self.home / "stack.json")
        self._noting = threading.Lock()

    def up(self, report: Report = lambda engine, event: None) -> dict[str, str]:
        """Start what is not running and return the environment; what runs and answers is left as it is.

        `report` hears an engine's name and what happens to it.

        Raises:
            StackError: an engine cannot start.
        """
        with self._exclusively():
            engines = self._engines()
            with ThreadPoolExecutor(len(engines)) as pool:
                problems = list(pool.map(lambda engine: self._problem_of(engine, report), engines))
            if any(problems):
                raise StackError("\n\n".join(filter(None, problems)))
            # Rows of the product, and what its runs logged: nobody else's to read.
            for name in ("landing", "dagster"):
                (self.home / name).mkdir(exist_ok=True)
                (self.home / name).chmod(0o700)
            dagster_home.install(self.home / "dagster")
            (self.home / AWS_CONFIG).write_text("[default]\n")
            return self.environment()

    def down(self, only: Collection[str] = ENGINES, report: Report = lambda engine, event: None) -> list[str]:
        """Stop the engines of this home, keep their data, and return the names of those that were running."""
        if not only or not self.home.exists():
            return []
        with self._exclusively():
            engines = [engine for engine in self._engines() if engine.name in only]
            with ThreadPoolExecutor(len(engines)) as pool:
                stopped = list(pool.map(lambda engine: self._stop(engine, report), engines))
            return [engine.name for engine, was_running in zip(engines, stopped, strict=True) if was_running]

    def abandon(self, *, keep: bool, seconds: float) -> None:
        """Stop at once what this process has started, whatever it is doing; engines that run may be kept.

        The lock is not waited for: this process may hold it. Nothing is lost that a killed process would not lose.
        """
        state = self._state.read()
        engines = self._engines(create=False)
        found = {engine: processes.find(state.get(engine.name), engine.signature) for engine in engines}
        polite = {process.pid: engine.polite_signal for engine, process in found.items() if process}
        processes.stop_children(polite, set(polite) if keep else set(), seconds)

    def status(self) -> list[EngineStatus]:
        state = self._state.read()
        return [self._status_of(engine, state.get(engine.name)) for engine in self._engines(create=False)]

    def running(self) -> set[str]:
        """The names of the engines that are alive and have answered since they were started."""
        state = self._state.read()
        engines = [engine for engine in self._engines(create=False) if engine.name in state]
        alive = [engine for engine in engines if processes.find(state[engine.name], engine.signature)]
        return {engine.name for engine in alive if state[engine.name].address}

    def environment(self) -> dict[str, str]:
        """The environment that production would export, for the engines of this home.

        Raises:
            StackError: the stack is not running.
        """
        self._check_owner()
        down = sorted(set(ENGINES) - self.running())
        if down:
            raise StackError(f"Not running in {self.home}: {', '.join(down)}. Start: {self._command('up')}")
        addresses = {name: process.address for name, process in self._state.read().items()}
        return environment(self.home, addresses, self._password())

    def _engines(self, *, create: bool = True) -> tuple[Engine, ...]:
        password = self._password() if create else ""
        return (
            postgres.PostgresServer(self.home / "postgres"),
            HttpEngine(
                name="clickhouse",
                module="analytics_pipeline.embedded.clickhouse_server",
                directory=self.home / "clickhouse",
                arguments=("--database", "analytics"),
                secrets=(("CLICKHOUSE_SERVER_PASSWORD", password),),
            ),
            HttpEngine(
                name="aws",
                module="analytics_pipeline.embedded.aws",
                directory=self.home / "aws",
                arguments=(),
                probe_path="/moto-api/",
            ),
        )

    def _password(self) -> str:
        path = self.home / "clickhouse.password"
        if not path.exists():
            write_private(path, secrets.token_urlsafe(24))
        return path.read_text()

    def _exclusively(self) -> AbstractContextManager[None]:
        try:
            self.home.mkdir(parents=True, exist_ok=True)
            self._check_owner()
            return locked(self.home / "stack.lock", _LOCK_SECONDS)
        except OSError as error:
            raise StackError(f"The stack cannot use {self.home}: {error}. Choose another home.") from error

    def _check_owner(self) -> None:
        """Root could go on with another user's stack, but the files it makes would lock that user out."""
        password = self.home / "clickhouse.password"
        if password.exists() and password.stat().st_uid != os.geteuid():
            raise StackError(f"The stack in {self.home} belongs to another user: be that user, or choose another home.")

    def _problem_of(self, engine: Engine, report: Report) -> str:
        """Start it if needed; an engine that cannot start must not hide why another cannot."""
        try:
            self._ensure(engine, report)
        except StackError as error:
            return str(error)
        return ""

    def _ensure(self, engine: Engine, report: Report) -> None:
        former = self._state.read().get(engine.name)
        running = processes.find(former, engine.signature)
        if running and former and self._answers(engine, former.address):
            engine.finish(former.address)
            report(engine.name, "already running")
            return
        report(engine.name, "starting")
        self._end(engine, former, _STOP_SECONDS_WHEN_HANGING)
        self._start(engine, former.address if former else "")
        report(engine.name, "running")

    @staticmethod
    def _answers(engine: Engine, address: str) -> bool:
        # Without an address its caller was killed before it was ready; it is cheaper to start it again than to guess.
        return bool(address) and any(engine.answers(address) for _ in range(_ANSWER_ATTEMPTS))

    def _start(self, engine: Engine, former_address: str) -> None:
        log = self.logs / f"{engine.name}.log"
        try:
            engine.prepare()
            processes.rotate(log)
            offset = log.stat().st_size if log.exists() else 0
            child = processes.start(engine.command(former_address, log))
        except OSError as error:
            raise StackError(f"{engine.name} cannot be started: {error}") from error
        self._note(engine.name, processes.recorded(child.pid))
        address = processes.wait_until(lambda: engine.address(log, offset), child, _START_SECONDS)
        if address is None:
            self._end(engine, processes.recorded(child.pid) if child.poll() is None else None)
            raise StackError(self._explanation(engine, child.poll(), log, offset))
        self._note(engine.name, processes.recorded(child.pid, address))
        engine.finish(address)

    def _explanation(self, engine: Engine, exit_code: int | None, log: Path, offset: int) -> str:
        what = f"did not answer within {_START_SECONDS:.0f} s" if exit_code is None else f"ended with code {exit_code}"
        return (
            f"{engine.name} {what}. The end of {log}:\n{processes.tail(log, offset)}\n"
            f"Its data is untouched. Once the cause is removed: {self._command('up')}\n"
            f"To start again without data: {self._command('down')}, then delete {engine.data.parent}"
        )

    def _command(self, name: str) -> str:
        return f"analytics-pipeline stack {name} --home {shlex.quote(str(self.home))}"

    def _note(self, name: str, process: Recorded) -> None:
        with self._noting:
            self._state.write(self._state.read() | {name: process})

    def _stop(self, engine: Engine, report: Report) -> bool:
        former = self._state.read().get(engine.name)
        was_running = self._end(engine, former)
        if former:
            self._note(engine.name, replace(former, pid=0, created=0.0))
        report(engine.name, "stopped" if was_running else "was not running")
        return was_running

    def _end(self, engine: Engine, former: Recorded | None, seconds: float = _STOP_SECONDS) -> bool:
        known = processes.find(former, engine.signature)
        alive = [known] if known else processes.orphans(engine.signature)
        for process in alive:
            processes.stop(process, engine.polite_signal, seconds)
        return bool(alive)

    def _status_of(self, engine: Engine, former: Recorded | None) -> EngineStatus:
        process = processes.find(former, engine.signature)
        size = _size(engine.data)
        if not process or not former:
            return EngineStatus(engine.name, "stopped", data_bytes=size)
        state = "running" if former.address and engine.answers(former.address) else "not answering"
        return EngineStatus(engine.name, state, process.pid, former.address, process.create_time(), size)


def _size(directory: Path) -> int:
    paths = (Path(parent) / name for parent, _, names in os.walk(directory) for name in names)
    return sum(_file_size(path) for path in paths)


def _file_size(path: Path) -> int:
    try:
        return path.stat(follow_symlinks=False).st_size
    except OSError:  # engines remove files while we look
        return 0
