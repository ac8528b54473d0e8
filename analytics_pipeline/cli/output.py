"""Output of commands: text whose lines are never broken, tables, progress bars, or one JSON document."""

import os
from typing import IO

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn

# Wider than any line: another program, or a person with `less -S`, decides where a line ends.
_PIPE_COLUMNS = 10_000

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")


def new_console(*, stderr: bool = False, file: IO[str] | None = None) -> Console:
    """A console that never breaks a line of text, so that a command can be copied whole; tables fit the terminal.

    Where there is no terminal, tables are as wide as they need, unless COLUMNS is set.
    """
    console = Console(stderr=stderr, file=file, soft_wrap=True, highlight=False)
    if not console.is_terminal and not os.environ.get("COLUMNS"):
        console.width = _PIPE_COLUMNS
    return console


def new_progress(console: Console, *columns: ProgressColumn) -> Progress:
    """A bar with how many are done of how many, and any other columns; nothing where there is no terminal."""
    shown = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), *columns)
    return Progress(*shown, console=console, transient=True, disable=not console.is_terminal)


def print_json(document: object) -> None:
    """Print dataclasses, mappings and lists as JSON; moments and days as ISO 8601."""
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
