"""`analytics-pipeline demo`: the whole pipeline once, on embedded engines, with a summary for newcomers."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import click
from rich.console import Console

from analytics_pipeline.cli.errors import Exit
from analytics_pipeline.cli.local.dagster_process import new_token
from analytics_pipeline.cli.local.interruption import run_until_interrupted
from analytics_pipeline.cli.local.stack import home_option, open_stack, start_with_progress
from analytics_pipeline.cli.output import new_console
from analytics_pipeline.embedded.clickhouse_server import SMALL_VARIABLE

if TYPE_CHECKING:
    from analytics_pipeline.embedded.stack import Stack


@click.command()
@home_option
@click.option("--keep", is_flag=True, help="Leave the engines running at the end (stop them with: stack down).")
def demo(home: Path, keep: bool) -> None:
    """Run the whole pipeline once on embedded engines, with a demo product, and show what came out.

    Starts PostgreSQL, ClickHouse and an AWS stand-in under the home directory, migrates, loads a product with
    organisations, environments, segments, support desks and thousands of identities, and materialises today's
    identities, segments and reports through Dagster. AI usage is switched on as an admin would, Dagster's daemon runs,
    and the histories of what is switched on come in. Nothing outside the home directory is touched; running it again
    works again.
    """
    console, opened, token = new_console(), open_stack(home), new_token()
    exit_code = run_until_interrupted(
        lambda: _run(opened, home, token, console, keep=keep),
        lambda told: _abandon(opened, home, token, told, keep=keep),
    )
    sys.exit(exit_code)


def _run(opened: "Stack", home: Path, token: str, console: Console, *, keep: bool) -> Exit:
    began = time.monotonic()
    Thread(target=_import_ahead, daemon=True).start()
    # Nearly all statements of the demo are small.
    os.environ.setdefault(SMALL_VARIABLE, "1")
    with _embedded_stack(opened, console, keep=keep) as environment:
        from analytics_pipeline.cli.local.preparation import prepare_demo

        prepare_demo(environment, console)
        from analytics_pipeline.cli.local.pipeline import run_pipeline
        from analytics_pipeline.cli.local.summary import show_next_steps

        exit_code = run_pipeline(opened, environment, token, console)
        show_next_steps(console, home, seconds=time.monotonic() - began, kept=keep)
    return exit_code


def _import_ahead() -> None:
    """Import what follows, which takes as long as the engines to start: Dagster and all definitions."""
    for name in ("preparation", "pipeline"):
        import_module(f"analytics_pipeline.cli.local.{name}")


def _abandon(opened: "Stack", home: Path, token: str, told: Console, *, keep: bool) -> None:
    """Leave the work as a killed process would, and nothing running; ends within five seconds."""
    from analytics_pipeline.embedded import dagster_ui

    told.print("\nInterrupted: stopping what this command started …")
    dagster_ui.stop_at_once(token, seconds=0.7)
    opened.abandon(keep=keep, seconds=2.0)
    told.print(f"Stopped. What was done is kept under {home}; run the command again to go on.", markup=False)


@contextmanager
def _embedded_stack(opened: "Stack", console: Console, *, keep: bool) -> Iterator[dict[str, str]]:
    """The engines, up; at the end those that were started here are stopped again, unless they are to be kept."""
    before = opened.running()
    try:
        yield start_with_progress(opened, console)
    finally:
        if not keep:
            with console.status("Stopping the engines; their data stays …"):
                opened.down(opened.running() - before)
