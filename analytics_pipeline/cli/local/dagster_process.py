"""Dagster's webserver and daemon on the embedded stack, for as long as a command needs them."""

import secrets
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from analytics_pipeline.embedded.dagster_ui import Location, Session
    from analytics_pipeline.embedded.stack import Stack

DEFAULT_PORT = 3000
_PORTS_TRIED = 50
_LOAD_SECONDS = 180.0
_POLL_SECONDS = 0.2


class AlreadyRuns(click.ClickException):
    """A Dagster serves this home already."""


def new_token() -> str:
    """Marks the processes of one start of Dagster."""
    return secrets.token_hex(16)


def new_session(engines: tuple[str, ...], port: int, token: str) -> "Session":
    """A start of Dagster, which would also stop these engines at its end."""
    from analytics_pipeline.embedded.dagster_ui import Session

    return Session(token, f"http://127.0.0.1:{port}", engines)


def _end_dead_runs() -> None:
    """No Dagster serves this home, so the processes of runs that have begun are gone; nobody else would end those."""
    import dagster as dg

    with dg.DagsterInstance.get() as instance:
        began = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
        for run in instance.get_runs(dg.RunsFilter(statuses=began)):
            instance.report_run_canceled(run, "Its process was killed.")


def note_of(opened: "Stack") -> Path:
    """Where a start is noted, for the next one to clean up after it if it was killed."""
    return opened.home / "dev.json"


def log_of(opened: "Stack") -> Path:
    return opened.logs / "dagster.log"


@contextmanager
def alone(opened: "Stack") -> Iterator[set[str]]:
    """Hold the home's place for one Dagster, and end what a killed one left; yields the engines it had started.

    Raises:
        AlreadyRuns: somebody else holds it.
    """
    from analytics_pipeline.embedded import dagster_ui
    from analytics_pipeline.embedded.processes import StackError
    from analytics_pipeline.embedded.state import locked

    opened.home.mkdir(parents=True, exist_ok=True)
    former = dagster_ui.noted(note_of(opened))
    with ExitStack() as held:
        try:
            held.enter_context(locked(opened.home / "dev.lock", seconds=0))
        except StackError as error:
            where = f" at {former.url}" if former and former.url else ""
            raise AlreadyRuns(f"Dagster already runs{where} on {opened.home}.") from error
        if former:
            dagster_ui.stop(former, None)
        yield set(former.engines if former else ())


@contextmanager
def daemon_beside(opened: "Stack", environment: Mapping[str, str], token: str) -> Iterator[Callable[[], None]]:
    """Dagster's daemon while the caller works: that of a `dev` that runs on this home, else our own.

    Ours is marked with `token`. Yields what raises click.ClickException once ours has ended by itself.
    """
    from analytics_pipeline.embedded import dagster_ui

    with ExitStack() as held:
        try:
            held.enter_context(alone(opened))
        except AlreadyRuns:
            yield lambda: None
            return
        session = dagster_ui.Session(token, "", ())
        dagster_ui.note(note_of(opened), session)
        _end_dead_runs()
        held.callback(note_of(opened).unlink, missing_ok=True)
        child = dagster_ui.start_daemon(session, environment, log_of(opened))
        held.callback(dagster_ui.stop, session, child)
        yield lambda: _require(child, log_of(opened))


def _require(child: "subprocess.Popen[bytes]", log: Path) -> None:
    if child.poll() is not None:
        raise click.ClickException(ended(child.returncode, log))


def free_port(wanted: int, but: Collection[int] = ()) -> int:
    """The port, or the next one that is free. `but` are promised to processes that have only begun to start.

    Raises:
        click.ClickException: fifty of them are taken.
    """
    from analytics_pipeline.embedded.engines import is_free

    for port in range(wanted, min(wanted + _PORTS_TRIED, 65_536)):
        if port not in but and is_free(port):
            return port
    raise click.ClickException(f"No port from {wanted} on is free: choose another with --port.")


def wait_for_locations(port: int, child: "subprocess.Popen[bytes]", log: Path) -> list["Location"]:
    """The code locations, once Dagster has tried to load them.

    Raises:
        click.ClickException: it ended by itself, or did not get there in three minutes.
    """
    from analytics_pipeline.embedded import dagster_ui

    deadline = time.monotonic() + _LOAD_SECONDS
    while time.monotonic() < deadline:
        locations = dagster_ui.loaded_locations(port)
        if locations is not None:
            return locations
        _require(child, log)
        time.sleep(_POLL_SECONDS)
    raise click.ClickException(f"Dagster did not load its code within {_LOAD_SECONDS:.0f} s. Its log: {log}")


def ended(code: int, log: Path) -> str:
    """Why Dagster is no longer there."""
    from analytics_pipeline.embedded.processes import tail

    return f"Dagster ended by itself with code {code}. The end of {log}:\n{tail(log)}"
