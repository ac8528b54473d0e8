"""`analytics-pipeline dev`: the Dagster UI on the embedded stack."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel

from analytics_pipeline.cli.local.dagster_process import (
    DEFAULT_PORT,
    alone,
    ended,
    free_port,
    log_of,
    new_session,
    new_token,
    note_of,
    wait_for_locations,
)
from analytics_pipeline.cli.local.dashboard import Dashboard, start_dashboard
from analytics_pipeline.cli.local.event_services import start_sending
from analytics_pipeline.cli.local.stack import home_option, open_stack, start_with_progress
from analytics_pipeline.cli.output import new_console

if TYPE_CHECKING:
    from analytics_pipeline.embedded.dagster_ui import Location, Session
    from analytics_pipeline.embedded.stack import Stack

_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command()
@home_option
@click.option(
    "--port", default=DEFAULT_PORT, show_default=True, help="Port of the UI; the next free one when it is taken."
)
def dev(home: Path, port: int) -> None:
    """Open the Dagster UI and the dashboard with demo data on this machine.

    Starts the embedded engines, fills empty stores with demo data and runs Dagster's webserver and daemon and the
    dashboard on them, as production would; three small services go on sending product events. Ctrl-C stops everything
    that this command started; the data is kept for the next time.
    """
    console = new_console()
    opened = open_stack(home)
    with _interrupted_by_signals(), alone(opened) as engines_of_killed_dev:
        _serve(opened, port, engines_of_killed_dev, console)


def _serve(opened: "Stack", wanted_port: int, inherited: set[str], console: Console) -> None:
    from analytics_pipeline.embedded import dagster_ui
    from analytics_pipeline.embedded.stack import ENGINES

    already_running = opened.running()
    port = free_port(wanted_port)
    engines = tuple(sorted(inherited | (set(ENGINES) - already_running)))
    session = new_session(engines, port, new_token())
    dagster_ui.note(note_of(opened), session)
    child: subprocess.Popen[bytes] | None = None
    try:
        environment = start_with_progress(opened, console)
        _prepare(environment, console)
        # They carry the session's token, so they end with it; what they could not send is kept for the next time.
        sending = start_sending(opened, environment, session.token, promised={port})
        dashboard = start_dashboard(opened, environment, session, promised={port, sending.port})
        environment["DASHBOARD_URL"] = dashboard.url
        log = log_of(opened)
        with console.status(f"Starting Dagster (log: {log})"):
            child = dagster_ui.start(session, environment, port, log)
            locations = wait_for_locations(port, child, log)
        console.print(_welcome(session.url, dashboard, locations, log))
        raise click.ClickException(ended(child.wait(), log))
    finally:
        _ignore_signals()
        with console.status("Stopping"):
            _stop(opened, session, child)
        console.print("Stopped. The data is kept: the next start continues with it.")


def _prepare(environment: dict[str, str], console: Console) -> None:
    from analytics_pipeline.cli.local.preparation import prepare_demo

    prepare_demo(environment, console)


def _stop(opened: "Stack", session: "Session", child: "subprocess.Popen[bytes] | None") -> None:
    from analytics_pipeline.embedded import dagster_ui

    dagster_ui.stop(session, child)
    opened.down(only=session.engines)
    note_of(opened).unlink(missing_ok=True)


def _welcome(url: str, dashboard: Dashboard, locations: list["Location"], log: Path) -> Panel:
    lines = [
        *(f"[red]{place.name} does not load:[/red]\n{escape(place.error)}" for place in locations if place.error),
        f"[bold]{url}[/bold]",
        "  /asset-groups  the flows; an asset shows its days, checks and row counts",
        "  /runs          what ran and what it cost",
        "  /automation    schedules and sensors, each with a switch",
        "",
        f"[bold]{dashboard.url}[/bold]  the dashboard, and the read API at /openapi.json; sign in with",
        f"  {dashboard.token}",
        "",
        "In another terminal, on the same data:",
        "  set -a; source <(analytics-pipeline stack env); set +a",
        "  analytics-pipeline enablement status",
        "  analytics-pipeline settings set use_clickhouse_for_analytics on",
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
