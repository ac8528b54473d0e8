"""`analytics-pipeline demo`: the whole pipeline once, on embedded engines, with a summary for newcomers."""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime, timezone
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from analytics_pipeline.cli.enablement import status_table
from analytics_pipeline.cli.errors import Exit
from analytics_pipeline.cli.materialise import Materialised, look_at_switches, materialise
from analytics_pipeline.cli.stack import home_option, open_stack, start_with_progress
from analytics_pipeline.cli.summary import show_next_steps, show_runs, show_segment_counts
from analytics_pipeline.config import Settings
from analytics_pipeline.flows.enablement.ledger import EnablementLedger
from analytics_pipeline.migrations import migrate
from analytics_pipeline.resources.clickhouse import Tag, connect
from analytics_pipeline.resources.postgres import postgres


@click.command()
@home_option
@click.option("--keep", is_flag=True, help="Leave the engines running at the end (stop them with: stack down).")
def demo(home: Path, keep: bool) -> None:
    """Run the whole pipeline once on embedded engines, with a demo product, and show what came out.

    Starts PostgreSQL, ClickHouse and an AWS stand-in under the home directory, migrates, loads a product with
    organisations, environments, segments and thousands of identities, and materialises every asset for today through
    Dagster. Nothing outside the home directory is touched; running it again works again.
    """
    console = Console()
    began = time.monotonic()
    with _embedded_stack(home, console, keep=keep) as environment:
        prepare_demo(environment, console)
        today = datetime.now(timezone.utc).date()
        look_at_switches(launch=False)
        materialised = _materialise(today, console)
        _switch_ai_usage_on(environment, console)
        _summarise(materialised, today, console)
        show_next_steps(console, home, seconds=time.monotonic() - began, kept=keep)
    sys.exit(Exit.DONE if all(asset.state == "done" for asset in materialised) else Exit.FAILED)


@contextmanager
def _embedded_stack(home: Path, console: Console, *, keep: bool) -> Iterator[Mapping[str, str]]:
    """The engines, up; at the end those that were started here are stopped again, unless they are to be kept."""
    stack = open_stack(home)
    before = stack.running()
    try:
        yield start_with_progress(stack, console)
    finally:
        if not keep:
            with console.status("Stopping the engines; their data stays …"):
                stack.down(stack.running() - before)


def prepare_demo(environment: Mapping[str, str], console: Console) -> None:
    """Export the environment, migrate both stores and load the demo product where it is missing."""
    from analytics_pipeline.embedded.demo.load import DemoRefusedError, load_demo_product

    os.environ.update(environment)
    settings = Settings.load()
    with console.status("Migrating Postgres and ClickHouse …"):
        applied = migrate(settings)
    console.print(f"[green]✓[/] Schemas are up to date ({len(applied)} migrations applied)")
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        tasks = {}

        def report(label: str, done: int, total: int) -> None:
            if label not in tasks:
                tasks[label] = progress.add_task(label, total=total)
            progress.update(tasks[label], completed=done, total=total)

        try:
            product = load_demo_product(environment["DATABASE_URL"], environment["IDENTITIES_TABLE"], progress=report)
        except DemoRefusedError as error:
            raise click.ClickException(str(error)) from error
    console.print(
        f"[green]✓[/] Demo product: {product.organisations} organisations, {product.projects} projects,"
        f" {product.environments} environments, {product.live_segments} segments, {product.identities:,} identities"
    )


def _materialise(today: date, console: Console) -> list[Materialised]:
    console.print(f"[green]✓[/] Materialising every asset for {today} through Dagster")
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("assets", total=None)
        return materialise(
            today, lambda name, done, total: progress.update(task, description=name, completed=done, total=total)
        )


def _switch_ai_usage_on(environment: Mapping[str, str], console: Console) -> None:
    """What an admin does in the product; the sensor notices, and a run brings the history in."""
    from analytics_pipeline.embedded.demo.load import save_application_settings

    if save_application_settings(environment["DATABASE_URL"], use_clickhouse_for_analytics=True):
        console.print("[green]✓[/] use_clickhouse_for_analytics switched on: its history is brought in, once")
    with console.status("Bringing in what was switched on …"):
        look_at_switches(launch=True)
        look_at_switches(launch=False)


def _summarise(materialised: list[Materialised], today: date, console: Console) -> None:
    settings = Settings.load()
    show_runs(console, materialised)
    if any(asset.state == "failed" for asset in materialised):
        return
    with connect(settings, Tag("demo", "summary")) as clickhouse:
        show_segment_counts(console, postgres(settings), clickhouse, today)
    store = postgres(settings)
    console.print(status_table(store, EnablementLedger(store).all()))
