"""`analytics-pipeline enablement`: what became of the histories of features that were switched on."""

import sys
from dataclasses import asdict
from datetime import timezone

import click
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from analytics_pipeline.cli.errors import Exit
from analytics_pipeline.cli.output import json_option, new_console, print_json
from analytics_pipeline.config import Settings
from analytics_pipeline.flows.enablement.epochs import Epoch
from analytics_pipeline.flows.enablement.ledger import EnablementLedger, Totals
from analytics_pipeline.flows.erasure.errors import SubjectForgotten
from analytics_pipeline.flows.erasure.forgotten import forgotten
from analytics_pipeline.flows.features import FEATURES, days_done
from analytics_pipeline.resources.postgres import Postgres, postgres

_COLOURS = {"requested": "yellow", "running": "cyan", "completed": "green", "failed": "red"}
_SEE = "see: analytics-pipeline enablement status"
_NAMES = click.Choice([feature.name for feature in FEATURES])


@click.group()
def enablement() -> None:
    """Histories of the features that were switched on: look at them, try them again, bring them in anew.

    A feature's history is brought in once, when somebody switches the feature on: by a run that the sensor `enablement`
    asks for, and that is tried again when it fails. docs/enablement.md tells how.
    """


@enablement.command()
@json_option
def status(*, as_json: bool) -> None:
    """Show the newest epoch of every feature and scope.

    Exits with 3 while a history is open that is not complete, with 1 when one was given up.
    """
    store = postgres(Settings.load())
    epochs = EnablementLedger(store).all()
    console = new_console()
    if as_json:
        print_json([asdict(epoch) | {"days_done": len(days_done(store, epoch))} for epoch in epochs])
        sys.exit(_exit_of(epochs))
    if not epochs:
        console.print("No feature was seen switched on yet; the sensor `enablement` looks every 30 seconds.")
        return
    console.print(status_table(store, epochs))
    sys.exit(_exit_of(epochs))


def status_table(store: Postgres, epochs: list[Epoch]) -> Group:
    """One row for each epoch: whether its feature is on, how far it is; then, in words, what it asks for.

    The words end with what went wrong last, and with what earlier epochs of the scope brought in.
    """
    table = Table(title="Histories", title_justify="left")
    for column in ("feature", "scope", "switch", "history"):
        table.add_column(column, overflow="fold")
    for column in ("days done", "rows"):
        table.add_column(column, justify="right", overflow="fold")
    for epoch in epochs:
        done = len(days_done(store, epoch))
        table.add_row(
            epoch.feature,
            escape(epoch.scope),
            "on" if epoch.closed_at is None else "off",
            f"[{_COLOURS[epoch.state]}]{epoch.state}[/]",
            f"{done} of {len(epoch.days)}",
            "" if epoch.rows is None else f"{epoch.rows:,}",
        )
    totals = EnablementLedger(store).totals()
    words = ([_headline(epoch), *_notes(epoch, totals[epoch.feature, epoch.scope])] for epoch in epochs)
    return Group(table, *(escape("\n  ".join(lines)) for lines in words))


def _headline(epoch: Epoch) -> str:
    days = f"{epoch.first_day} to {epoch.last_day}" if epoch.days else "no days"
    run = f", run {epoch.run_id[:8]}" if epoch.run_id else ""
    return f"{epoch.feature} {epoch.scope}: {days}, attempt {epoch.attempt} of {epoch.last_attempt}{run}"


def _notes(epoch: Epoch, totals: Totals) -> list[str]:
    notes = epoch.error.splitlines()
    if epoch.closed_at is not None:
        what = "reset: the next epoch asks for the whole history; closed" if epoch.is_reset else "switched off"
        notes.append(f"{what} {epoch.closed_at.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC")
    if epoch.source_first_day and epoch.first_day and epoch.epoch == 1 and epoch.source_first_day < epoch.first_day:
        notes.append(f"the source begins on {epoch.source_first_day}, ANALYTICS_START_DATE later")
    if epoch.state == "failed" and epoch.closed_at is None:
        notes.append(f"try again: analytics-pipeline enablement retry {epoch.feature} {epoch.scope}")
    if totals.epochs > 1:
        notes.append(f"epoch {epoch.epoch}; all of them together: {totals.rows:,} rows")
    return notes


def _exit_of(epochs: list[Epoch]) -> Exit:
    states = {epoch.state for epoch in epochs if epoch.closed_at is None}
    if "failed" in states:
        return Exit.FAILED
    return Exit.GAPS if states - {"completed"} else Exit.DONE


@enablement.command(short_help="Give a history that was given up new attempts.")
@click.argument("feature", type=_NAMES)
@click.argument("scope", default="instance")
@json_option
def retry(feature: str, scope: str, *, as_json: bool) -> None:
    """Give a history that was given up new attempts. They ask only for what is still missing.

    SCOPE is `instance` for ai_usage, `account:7` for reporting, `organisation:1` for segments.
    """
    store = postgres(Settings.load())
    _refuse_forgotten(store, scope)
    epoch = EnablementLedger(store).retry(feature, scope)
    if epoch is None:
        raise click.ClickException(f"{feature} {scope} has no history that was given up; {_SEE}")
    if as_json:
        print_json(epoch)
    else:
        click.echo(f"{feature} {scope}: the sensor will ask for attempt {epoch.attempt} within 30 seconds.")


@enablement.command(short_help="Bring the whole history in anew.")
@click.argument("feature", type=_NAMES)
@click.argument("scope", default="instance")
@click.option("--yes", is_flag=True, help="Do it; without this, only what would be done is shown.")
@json_option
def reset(feature: str, scope: str, *, yes: bool, as_json: bool) -> None:
    """Bring the whole history in anew, as if the feature had been switched on for the first time.

    Nothing is deleted: each day is replaced when it comes in. Without --yes nothing is changed.
    """
    store = postgres(Settings.load())
    _refuse_forgotten(store, scope)
    ledger = EnablementLedger(store)
    epoch = ledger.newest(feature).get(scope)
    if epoch is None:
        raise click.ClickException(f"{feature} {scope} was never switched on; {_SEE}")
    what = f"{feature} {scope}: epoch {epoch.epoch} ({epoch.state}) is closed; the next asks for the whole history"
    if yes:
        ledger.reset(feature, scope)
    if as_json:
        print_json({"feature": feature, "scope": scope, "epoch": epoch.epoch, "state": epoch.state, "is_reset": yes})
    elif yes:
        click.echo(f"{what}, within 30 seconds if the feature is on.")
    else:
        click.echo(f"{what}. This was a dry run; do it with --yes.")


def _refuse_forgotten(store: Postgres, scope: str) -> None:
    """Nobody asks for the history of an account or an organisation that was forgotten, whatever a backup brought back.

    Raises:
        click.ClickException: it is of such a one.
    """
    who, (kind, _, name) = forgotten(store), scope.partition(":")
    try:
        who.refuse("account" if kind == "account" else "organisation", name)
    except SubjectForgotten as error:
        raise click.ClickException(str(error)) from None
