"""The work of `demo`: the pipeline through Dagster, on engines that run and hold the demo product."""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import dagster as dg
from rich.console import Console
from rich.progress import TaskID

from analytics_pipeline.cli.enablement import status_table
from analytics_pipeline.cli.errors import Exit
from analytics_pipeline.cli.local.dagster_process import daemon_beside
from analytics_pipeline.cli.local.event_services import Sending, events_beside
from analytics_pipeline.cli.local.export_shown import begin_export, commit_late, show_export
from analytics_pipeline.cli.local.figures import show_ai_usage, show_product_events, show_report
from analytics_pipeline.cli.local.interruption import kept_from_children
from analytics_pipeline.cli.local.materialise import Materialised, assets_by_run, materialise, observe_switches
from analytics_pipeline.cli.local.summary import show_runs, show_segment_counts, show_skipped
from analytics_pipeline.cli.output import new_progress
from analytics_pipeline.config import Settings
from analytics_pipeline.flows.ai_usage.feature import AI_USAGE
from analytics_pipeline.flows.enablement.epochs import Epoch
from analytics_pipeline.flows.enablement.ledger import EnablementLedger
from analytics_pipeline.flows.features import days_done
from analytics_pipeline.flows.product_events.aggregates.tables import EVENT_COUNTS
from analytics_pipeline.flows.segments.feature import SEGMENTS
from analytics_pipeline.orchestration.run_states import runs_under_way
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.clickhouse.connection import connect
from analytics_pipeline.resources.postgres import Postgres, postgres

if TYPE_CHECKING:
    from analytics_pipeline.embedded.stack import Stack

_EXPORT = ("usage_export",)
_ENDED = ("completed", "failed")
_HISTORY_SECONDS = 300.0
_RUN_SECONDS = 60.0
_LOOK_SECONDS = 0.5


def run_pipeline(opened: "Stack", environment: Mapping[str, str], token: str, console: Console) -> Exit:
    """Materialise what is recent, let the daemon bring the histories in, and show all of it.

    Processes that are started are marked with `token`.
    """
    # Dagster's own, of what the sensors' owners are called: nothing that a newcomer can do anything about.
    warnings.simplefilter("ignore", dg.BetaWarning)
    # Before the work: what is materialised now counts for the histories of what is on.
    observe_switches()
    today = datetime.now(timezone.utc).date()
    switched_on = [assets for assets in assets_by_run() if set(assets).isdisjoint(AI_USAGE.assets)]
    segments = [assets for assets in switched_on if not set(assets).isdisjoint(SEGMENTS.assets)]
    events = [assets for assets in switched_on if EVENT_COUNTS.name in assets]
    with events_beside(opened, environment, token) as sending:
        materialised = _materialise(segments, today, console) + _export(environment, today, console)
        _switch_ai_usage_on(environment, console)
        with daemon_beside(opened, environment, token) as check_daemon:
            # While the daemon starts: its sensors have not to ask for what is there.
            others = [assets for assets in switched_on if assets not in (*segments, *events, _EXPORT)]
            materialised += _materialise(others, today - timedelta(days=1), console)
            # While it brings the histories in, in processes of its own.
            materialised += _take_events(sending, events, today - timedelta(days=1), console)
            epochs = _watch_histories(postgres(Settings.load()), check_daemon, console)
            _summarise(materialised, today, console)
            _await_runs(console)
    return _exit_of(materialised, epochs)


def _take_events(
    sending: Sending, assets: Sequence[Sequence[str]], first: date, console: Console
) -> list[Materialised]:
    """The services send what they still have, and figures are made of it."""
    sending.require()
    sending.stop()
    console.print(f"[green]✓[/] Three services have sent their events through the SDK to {sending.url}")
    return _materialise(assets, first, console)


def _export(environment: Mapping[str, str], today: date, console: Console) -> list[Materialised]:
    """Export the event log twice: the second time for what a transaction has committed after the first."""
    begin_export(postgres(Settings.load()))
    _materialise([_EXPORT], today, console)
    commit_late(environment["DATABASE_URL"], console)
    return _materialise([_EXPORT], today, console)


def _exit_of(materialised: list[Materialised], epochs: list[Epoch]) -> Exit:
    states = {epoch.state for epoch in epochs}
    if any(asset.state != "done" for asset in materialised) or "failed" in states:
        return Exit.FAILED
    return Exit.DONE if states == {"completed"} else Exit.GAPS


def _materialise(runs: Sequence[Sequence[str]], first: date, console: Console) -> list[Materialised]:
    """Materialise each of these groups of assets from `first` on."""
    outcomes: list[Materialised] = []
    # Dagster starts helpers that would each answer Ctrl-C with a stack trace.
    with kept_from_children(), new_progress(console) as progress:
        for assets in runs:
            task = progress.add_task("", total=len(assets))

            def report(asset: str, done: int, task: TaskID = task) -> None:
                progress.update(task, description=asset, completed=done)

            outcomes += materialise(assets, first, report)
            console.print(f"[green]✓[/] Materialised through Dagster from {first} on: {', '.join(assets)}")
    return outcomes


def _switch_ai_usage_on(environment: Mapping[str, str], console: Console) -> None:
    """Switches the feature on as an admin does in the product; the sensor notices, and a run brings the history in."""
    from analytics_pipeline.demo.load import save_application_settings

    if save_application_settings(environment["DATABASE_URL"], use_clickhouse_for_analytics=True):
        console.print("[green]✓[/] use_clickhouse_for_analytics switched on: its history is brought in, once")


def _watch_histories(store: Postgres, check_daemon: Callable[[], None], console: Console) -> list[Epoch]:
    """The open epochs, once each has ended and AI usage is among them; or after five minutes."""
    deadline = time.monotonic() + _HISTORY_SECONDS
    with new_progress(console) as progress:
        tasks: dict[str, TaskID] = {}

        def report(epoch: Epoch, done: int) -> None:
            name = f"history of {epoch.feature} {epoch.scope}"
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=len(epoch.days))
            progress.update(tasks[name], completed=done)

        while True:
            check_daemon()
            epochs = _open_epochs(store, report)
            has_ended = AI_USAGE.name in {epoch.feature for epoch in epochs} and all(e.state in _ENDED for e in epochs)
            if has_ended or time.monotonic() > deadline:
                return epochs
            time.sleep(_LOOK_SECONDS)


def _open_epochs(store: Postgres, report: Callable[[Epoch, int], None]) -> list[Epoch]:
    """The open epochs, with what is done of each; those of which all days are there are completed now."""
    epochs = _open(store)
    days = {epoch: len(days_done(store, epoch)) for epoch in epochs}
    for epoch, done in days.items():
        report(epoch, done)
    if any(done == len(epoch.days) and epoch.state not in _ENDED for epoch, done in days.items()):
        # What the sensor does with its next tick, which may be 30 seconds away.
        observe_switches()
        return _open(store)
    return epochs


def _open(store: Postgres) -> list[Epoch]:
    return [epoch for epoch in EnablementLedger(store).all() if epoch.closed_at is None]


def _await_runs(console: Console) -> None:
    """Let runs end that check what they have brought in: stopped with the daemon, they would look like failures."""
    deadline = time.monotonic() + _RUN_SECONDS
    with dg.DagsterInstance.get() as instance, console.status("The last checks …"):
        while runs_under_way(instance) and time.monotonic() < deadline:
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
        show_export(console, store, clickhouse)
        show_product_events(console, settings, store, clickhouse)
    for epoch in epochs:
        if epoch.feature == AI_USAGE.name and epoch.first_day and epoch.last_day:
            show_ai_usage(console, settings, epoch.first_day, epoch.last_day)
    console.print(status_table(store, epochs))
