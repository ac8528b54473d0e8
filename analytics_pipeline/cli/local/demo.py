"""`analytics-pipeline demo`: the whole pipeline once, on embedded engines, with a summary for newcomers."""

import os
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import click
import dagster as dg
from rich.console import Console

from analytics_pipeline.cli.enablement import days_done, status_table
from analytics_pipeline.cli.errors import Exit
from analytics_pipeline.cli.local.dagster_process import dagster_beside, new_token
from analytics_pipeline.cli.local.figures import own_rows, show_ai_usage, show_report
from analytics_pipeline.cli.local.interruption import kept_from_children, run_until_interrupted
from analytics_pipeline.cli.local.materialise import Materialised, materialise, observe_switches
from analytics_pipeline.cli.local.stack import home_option, open_stack, start_with_progress
from analytics_pipeline.cli.local.summary import show_next_steps, show_runs, show_segment_counts, show_skipped
from analytics_pipeline.cli.output import new_console, new_progress
from analytics_pipeline.config import Settings
from analytics_pipeline.flows.ai_usage.feature import AI_USAGE
from analytics_pipeline.flows.enablement.epochs import Epoch
from analytics_pipeline.flows.enablement.ledger import EnablementLedger
from analytics_pipeline.migrations import migrate
from analytics_pipeline.orchestration.run_states import runs_under_way
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.clickhouse.connection import connect
from analytics_pipeline.resources.postgres import Postgres, postgres

if TYPE_CHECKING:
    from analytics_pipeline.embedded.stack import Stack

_ENDED = ("completed", "failed")
# A look at the switches is due every 30 seconds, and the runs that follow take some.
_HISTORY_SECONDS = 300.0
_LOOK_SECONDS = 0.5


@click.command()
@home_option
@click.option("--keep", is_flag=True, help="Leave the engines running at the end (stop them with: stack down).")
def demo(home: Path, keep: bool) -> None:
    """Run the whole pipeline once on embedded engines, with a demo product, and show what came out.

    Starts PostgreSQL, ClickHouse and an AWS stand-in under the home directory, migrates, loads a product with
    organisations, environments, segments, support desks and thousands of identities, and materialises every asset for
    today through Dagster. Then Dagster's daemon runs, AI usage is switched on as an admin would, and the histories of
    what is switched on come in. Nothing outside the home directory is touched; running it again works again.
    """
    console, opened, token = new_console(), open_stack(home), new_token()
    # Dagster's own, of what the sensors' owners are called: nothing that a newcomer can do anything about.
    warnings.simplefilter("ignore", dg.BetaWarning)
    exit_code = run_until_interrupted(
        lambda: _run(opened, home, token, console, keep=keep),
        lambda told: _abandon(opened, home, token, told, keep=keep),
    )
    sys.exit(exit_code)


def _run(opened: "Stack", home: Path, token: str, console: Console, *, keep: bool) -> Exit:
    began = time.monotonic()
    with _embedded_stack(opened, console, keep=keep) as environment:
        prepare_demo(environment, console)
        today = datetime.now(timezone.utc).date()
        # Before the work: what is materialised now counts for the histories of what is on.
        observe_switches()
        materialised = _materialise(today, console)
        with dagster_beside(opened, environment, token, console):
            _switch_ai_usage_on(environment, console)
            epochs = _watch_histories(postgres(Settings.load()), console)
        _summarise(materialised, today, console)
        show_next_steps(console, home, seconds=time.monotonic() - began, kept=keep)
    return _exit_of(materialised, epochs)


def _abandon(opened: "Stack", home: Path, token: str, told: Console, *, keep: bool) -> None:
    """Leave the work as a killed process would, and nothing running; ends within five seconds."""
    from analytics_pipeline.embedded import dagster_ui

    told.print("\nInterrupted: stopping what this command started …")
    dagster_ui.stop_at_once(token, seconds=0.7)
    opened.abandon(keep=keep, seconds=2.0)
    told.print(f"Stopped. What was done is kept under {home}; run the command again to go on.", markup=False)


def _exit_of(materialised: list[Materialised], epochs: list[Epoch]) -> Exit:
    states = {epoch.state for epoch in epochs}
    if any(asset.state != "done" for asset in materialised) or "failed" in states:
        return Exit.FAILED
    return Exit.DONE if states == {"completed"} else Exit.GAPS


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


def prepare_demo(environment: dict[str, str], console: Console) -> None:
    """Export the environment, migrate both stores and load the demo product where it is missing.

    Partitions begin where the data do, which the environment tells from then on.
    """
    from analytics_pipeline.demo.load import DemoRefusedError, first_days, load_demo_product
    from analytics_pipeline.embedded.environment import note_start_dates

    os.environ.update(environment)
    settings = Settings.load()
    with console.status("Migrating Postgres and ClickHouse …"):
        applied = migrate(settings)
    console.print(f"[green]✓[/] Schemas are up to date ({len(applied)} migrations applied)")
    with new_progress(console) as progress:
        tasks = {}

        def report(label: str, done: int, total: int) -> None:
            if label not in tasks:
                tasks[label] = progress.add_task(label, total=total)
            progress.update(tasks[label], completed=done, total=total)

        try:
            product = load_demo_product(environment["DATABASE_URL"], environment["IDENTITIES_TABLE"], progress=report)
        except DemoRefusedError as error:
            raise click.ClickException(str(error)) from error
    environment |= note_start_dates(Path(environment["ANALYTICS_HOME"]), first_days(environment["DATABASE_URL"]))
    os.environ.update(environment)
    console.print(
        f"[green]✓[/] Demo product: {product.organisations} organisations, {product.projects} projects,"
        f" {product.environments} environments, {product.live_segments} segments, {product.identities:,} identities"
    )


def _materialise(today: date, console: Console) -> list[Materialised]:
    console.print(f"[green]✓[/] Materialising every asset for {today} through Dagster")
    # Dagster starts helpers that would each answer Ctrl-C with a stack trace.
    with kept_from_children(), new_progress(console) as progress:
        task = progress.add_task("assets", total=None)
        return materialise(
            today, lambda name, done, total: progress.update(task, description=name, completed=done, total=total)
        )


def _switch_ai_usage_on(environment: Mapping[str, str], console: Console) -> None:
    """Switches the feature on as an admin does in the product; the sensor notices, and a run brings the history in."""
    from analytics_pipeline.demo.load import save_application_settings

    if save_application_settings(environment["DATABASE_URL"], use_clickhouse_for_analytics=True):
        console.print("[green]✓[/] use_clickhouse_for_analytics switched on: its history is brought in, once")


def _watch_histories(store: Postgres, console: Console) -> list[Epoch]:
    """The open epochs, once each has ended, its run has too, and AI usage is among them; or after five minutes."""
    ledger = EnablementLedger(store)
    deadline = time.monotonic() + _HISTORY_SECONDS
    with dg.DagsterInstance.get() as instance, new_progress(console) as progress:
        task = progress.add_task("days of history", total=None)
        while True:
            epochs = [epoch for epoch in ledger.all() if epoch.closed_at is None]
            days = sum(len(epoch.days) for epoch in epochs)
            progress.update(task, completed=sum(len(days_done(store, epoch)) for epoch in epochs), total=days or None)
            has_ended = AI_USAGE.name in {e.feature for e in epochs} and all(e.state in _ENDED for e in epochs)
            if (has_ended and not runs_under_way(instance)) or time.monotonic() > deadline:
                return epochs
            time.sleep(_LOOK_SECONDS)


def _summarise(materialised: list[Materialised], today: date, console: Console) -> None:
    settings = Settings.load()
    show_runs(console, materialised)
    if any(asset.state == "failed" for asset in materialised):
        return
    store = postgres(settings)
    epochs = EnablementLedger(store).all()
    with connect(settings, Tag("demo", "summary")) as clickhouse:
        show_skipped(console, settings, store)
        show_segment_counts(console, store, clickhouse, today)
        show_report(console, settings, store, clickhouse)
        own = own_rows(clickhouse, epochs)
    for epoch in epochs:
        if epoch.feature == AI_USAGE.name and epoch.first_day and epoch.last_day:
            show_ai_usage(console, settings, epoch.first_day, epoch.last_day)
    console.print(status_table(store, epochs, own))
