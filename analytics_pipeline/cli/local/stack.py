"""`analytics-pipeline stack`: the embedded engines on this machine."""

import shlex
import sys
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click
from rich.console import Console
from rich.filesize import decimal
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from analytics_pipeline.cli.errors import Exit
from analytics_pipeline.cli.output import json_option, new_console, print_json

if TYPE_CHECKING:
    from analytics_pipeline.embedded.stack import EngineStatus, Stack

T = TypeVar("T")

_DEFAULT_HOME = ".analytics"
_STYLES = {"running": "green", "not answering": "yellow", "stopped": "red"}

home_option = click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="ANALYTICS_HOME",
    default=_DEFAULT_HOME,
    show_default=f"$ANALYTICS_HOME or {_DEFAULT_HOME}",
    help="Directory with the engines' data, logs and password.",
)


@click.group()
def stack() -> None:
    """PostgreSQL, ClickHouse and AWS (DynamoDB, S3) on this machine.

    The pipeline knows only URLs: with the stack it runs as it does in production, without Docker or any account. The
    engines listen on the loopback address (PostgreSQL on a Unix socket), keep running after the command ends, and
    survive being killed: `up` starts whatever is missing.

    \b
    A session:
        analytics-pipeline stack up
        set -a; source <(analytics-pipeline stack env); set +a
        analytics-pipeline doctor
        analytics-pipeline stack down
    """


@stack.command()
@home_option
@json_option
def up(home: Path, *, as_json: bool) -> None:
    """Start the engines that are not running.

    Data from an earlier start is kept, except in AWS, which keeps everything in memory.
    """
    console = new_console(stderr=True)
    started = time.monotonic()
    start_with_progress(open_stack(home), console)
    if as_json:
        print_json({"home": home.absolute().as_posix(), "seconds": round(time.monotonic() - started, 1)})
        return
    console.print(f"[green]Running[/green] in {home} after {time.monotonic() - started:.1f} s.")
    command = f"analytics-pipeline stack env --home {shlex.quote(str(home))}"
    console.print(f"Use it: [bold]set -a; source <({command}); set +a[/bold]")


@stack.command()
@home_option
@json_option
def down(home: Path, *, as_json: bool) -> None:
    """Stop the engines and keep their data.

    To throw the data away as well, delete the directory afterwards.
    """
    console = new_console(stderr=True)
    with console.status("Stopping"):
        stopped = _failing_clearly(lambda: open_stack(home).down())
    if as_json:
        print_json({"stopped": stopped})
        return
    console.print(f"Stopped: {', '.join(stopped)}." if stopped else f"Nothing was running in {home}.")


@stack.command()
@home_option
@json_option
def status(home: Path, *, as_json: bool) -> None:
    """Show each engine's state.

    Exits with 0 when all of them run and with 3 when not.
    """
    engines = open_stack(home).status()
    if as_json:
        print_json(engines)
    else:
        _show(engines)
    if any(engine.state != "running" for engine in engines):
        sys.exit(Exit.GAPS)


@stack.command()
@home_option
@json_option
def env(home: Path, *, as_json: bool) -> None:
    """Print the environment as KEY=value lines.

    With these variables the pipeline, and any other client, finds the engines.

    \b
    In bash or zsh, either of:
        set -a; source <(analytics-pipeline stack env); set +a
        eval "$(analytics-pipeline stack env | sed 's/^/export /')"

    The lines hold the ClickHouse password of this stack.
    """
    variables = _failing_clearly(open_stack(home).environment)
    if as_json:
        print_json(variables)
        return
    for name, value in variables.items():
        click.echo(f"{name}={shlex.quote(value)}")


def open_stack(home: Path) -> "Stack":
    try:
        from analytics_pipeline.embedded.stack import Stack
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"{error.name} is not installed here. The embedded engines are an extra that a deployment does not need: "
            "pip install 'analytics-pipeline[embedded]'"
        ) from error
    return Stack(home)


def start_with_progress(opened: "Stack", console: Console) -> dict[str, str]:
    """Bring the stack up while showing each engine, and turn a failure into a readable error."""
    columns = (SpinnerColumn(finished_text="[green]✓[/green]"), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        tasks: dict[str, TaskID] = {}

        def report(engine: str, event: str) -> None:
            if engine not in tasks:
                tasks[engine] = progress.add_task(engine, total=1)
            finished = event != "starting"
            progress.update(tasks[engine], description=f"{engine}: {event}", completed=int(finished))

        return _failing_clearly(lambda: opened.up(report))


def _failing_clearly(action: Callable[[], T]) -> T:
    from analytics_pipeline.embedded.processes import StackError

    try:
        return action()
    except StackError as error:
        raise click.ClickException(str(error)) from error


def _show(engines: Sequence["EngineStatus"]) -> None:
    """A table that fits 80 columns, and the addresses below it: PostgreSQL's is a path of any length."""
    table = Table("engine", "state", "pid", "uptime", "data")
    for engine in engines:
        style = _STYLES[engine.state]
        uptime = _duration(time.time() - engine.started) if engine.started else ""
        table.add_row(
            engine.name,
            f"[{style}]{engine.state}[/{style}]",
            str(engine.pid or ""),
            uptime,
            decimal(engine.data_bytes),
        )
    console = new_console()
    console.print(table)
    for engine in engines:
        if engine.address:
            console.print(f"{engine.name}: {engine.address}", markup=False)


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=int(seconds)))
