"""`analytics-pipeline dev`: the Dagster UI on the embedded stack."""

import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel

from analytics_pipeline.cli.stack import home_option, open_stack, start_with_progress

if TYPE_CHECKING:
    from analytics_pipeline.embedded.dagster_ui import Location, Session
    from analytics_pipeline.embedded.stack import Stack

_PORTS_TRIED = 50
_LOAD_SECONDS = 180.0
_POLL_SECONDS = 0.2
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command()
@home_option
@click.option("--port", default=3000, show_default=True, help="Port of the UI; the next free one when it is taken.")
def dev(home: Path, port: int) -> None:
    """Open the Dagster UI with demo data on this machine.

    Starts the embedded engines, fills empty stores with demo data and runs Dagster's webserver and daemon on them, as
    production would. Ctrl-C stops everything that this command started; the data is kept for the next time.
    """
    console = Console()
    opened = open_stack(home)
    with _interrupted_by_signals(), _alone(opened) as engines_of_killed_dev:
        _serve(opened, port, engines_of_killed_dev, console)


def _serve(opened: "Stack", wanted_port: int, inherited: set[str], console: Console) -> None:
    from analytics_pipeline.embedded import dagster_ui
    from analytics_pipeline.embedded.stack import ENGINES

    already_running = opened.running()
    port = _free_port(wanted_port)
    engines = tuple(sorted(inherited | (set(ENGINES) - already_running)))
    session = dagster_ui.Session(secrets.token_hex(16), f"http://127.0.0.1:{port}", engines)
    dagster_ui.note(_note(opened), session)
    child: subprocess.Popen[bytes] | None = None
    try:
        environment = start_with_progress(opened, console)
        _prepare(environment, console)
        log = opened.logs / "dagster.log"
        with console.status(f"Starting Dagster (log: {log})"):
            child = dagster_ui.start(session, environment, port, log)
            locations = _wait_for_locations(port, child, log)
        console.print(_welcome(session.url, locations, log))
        raise click.ClickException(_ended(child.wait(), log))
    finally:
        _ignore_signals()
        with console.status("Stopping"):
            _stop(opened, session, child)
        console.print("Stopped. The data is kept: the next start continues with it.")


def _prepare(environment: dict[str, str], console: Console) -> None:
    from analytics_pipeline.cli.demo import prepare_demo

    prepare_demo(environment, console)


def _stop(opened: "Stack", session: "Session", child: "subprocess.Popen[bytes] | None") -> None:
    from analytics_pipeline.embedded import dagster_ui

    dagster_ui.stop(session, child)
    opened.down(only=session.engines)
    _note(opened).unlink(missing_ok=True)


def _note(opened: "Stack") -> Path:
    return opened.home / "dev.json"


@contextmanager
def _alone(opened: "Stack") -> Iterator[set[str]]:
    """Hold the home's place for one `dev`, and end what a killed one left; yields the engines it had started."""
    from analytics_pipeline.embedded import dagster_ui
    from analytics_pipeline.embedded.processes import StackError
    from analytics_pipeline.embedded.state import locked

    opened.home.mkdir(parents=True, exist_ok=True)
    former = dagster_ui.noted(_note(opened))
    with ExitStack() as held:
        try:
            held.enter_context(locked(opened.home / "dev.lock", seconds=0))
        except StackError as error:
            where = f" at {former.url}" if former else ""
            raise click.ClickException(f"`dev` already runs{where} on {opened.home}.") from error
        if former:
            dagster_ui.stop(former, None)
        yield set(former.engines if former else ())


def _free_port(wanted: int) -> int:
    from analytics_pipeline.embedded.engines import is_free

    for port in range(wanted, min(wanted + _PORTS_TRIED, 65_536)):
        if is_free(port):
            return port
    raise click.ClickException(f"No port from {wanted} on is free: choose another with --port.")


def _wait_for_locations(port: int, child: "subprocess.Popen[bytes]", log: Path) -> list["Location"]:
    from analytics_pipeline.embedded import dagster_ui

    deadline = time.monotonic() + _LOAD_SECONDS
    while time.monotonic() < deadline:
        locations = dagster_ui.loaded_locations(port)
        if locations is not None:
            return locations
        if child.poll() is not None:
            raise click.ClickException(_ended(child.returncode, log))
        time.sleep(_POLL_SECONDS)
    raise click.ClickException(f"Dagster did not load its code within {_LOAD_SECONDS:.0f} s. Its log: {log}")


def _ended(code: int, log: Path) -> str:
    from analytics_pipeline.embedded.processes import tail

    return f"Dagster ended by itself with code {code}. The end of {log}:\n{tail(log)}"


def _welcome(url: str, locations: list["Location"], log: Path) -> Panel:
    lines = [
        *(f"[red]{place.name} does not load:[/red]\n{escape(place.error)}" for place in locations if place.error),
        f"[bold]{url}[/bold]",
        "  /asset-groups  the flows; an asset shows its days, checks and row counts",
        "  /runs          what ran and what it cost",
        "  /automation    schedules and sensors, each with a switch",
        "",
        f"Dagster's log: {log}",
        "Ctrl-C stops everything that this command started and keeps the data.",
    ]
    return Panel("\n".join(lines), title="Dagster on the embedded stack", expand=False)


@contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """SIGTERM and a closed terminal end the command as Ctrl-C does, even where a shell made it ignore Ctrl-C."""
    former = {number: signal.signal(number, signal.default_int_handler) for number in _ENDINGS}
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _ignore_signals() -> None:
    """A second Ctrl-C must not leave half of the processes behind; stopping is bounded anyway."""
    for number in _ENDINGS:
        signal.signal(number, signal.SIG_IGN)
