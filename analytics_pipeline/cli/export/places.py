"""`analytics-pipeline export start` and `replay`: where a sink begins, and what is sent to it once more."""

from datetime import timedelta

import click

from analytics_pipeline.cli.export.asking import BEGINNING, Missing, configured_sinks, first_id, last_id
from analytics_pipeline.cli.output import json_option, print_json
from analytics_pipeline.config import Settings
from analytics_pipeline.flows.usage_export import ledger, past
from analytics_pipeline.flows.usage_export.source import newest
from analytics_pipeline.resources.postgres import LeaseHeld, Postgres, postgres


@click.command()
@click.argument("sink")
@click.option(
    "--from",
    "place",
    required=True,
    metavar=f"{BEGINNING}|ID|DATE",
    help="The first event that leaves: of all, with this id, or of this day (UTC).",
)
@click.option("--again", is_flag=True, help="Also when the sink has begun already: its bookmark is moved.")
@json_option
def start(sink: str, place: str, *, again: bool, as_json: bool) -> None:
    """Let SINK begin with events of the past. Without this it begins with what is committed after its first run.

    With --again the bookmark moves back or ahead: ahead, what lies between does not leave; back, it leaves once more.
    """
    settings = Settings.load()
    store = postgres(settings)
    (name,) = configured_sinks(settings, [sink])
    after = first_id(store, place) - 1
    if name in ledger.states(store):
        if not again:
            raise click.ClickException(f"{name} has begun already; move its bookmark with --again")
        _move(store, name, after)
    else:
        with store.connect() as connection:
            open_until = newest(connection, store).open_until
        with store.ledgers.connect() as connection:
            ledger.create(connection, name, after, "{}", open_until)
    if as_json:
        print_json({"sink": name, "bookmark_id": after})
    else:
        click.echo(f"{name} goes on after the event {after}: allowed events with higher ids leave.")


def _move(store: Postgres, name: str, after: int) -> None:
    try:
        with store.lease(f"usage_export:{name}", patience=timedelta(seconds=10)):
            ledger.move(store, name, after)
    except LeaseHeld:
        told = f"a run is serving {name}; pause it, wait for the run's end (4 minutes at most), and try again"
        raise click.ClickException(told) from None


@click.command()
@click.argument("sink")
@click.option(
    "--from", "first", required=True, metavar=f"{BEGINNING}|ID|DATE", help="The first event (days are UTC's)."
)
@click.option(
    "--to", "last", metavar="ID|DATE", help="The last event; of a day, that day's last. Default: the bookmark."
)
@json_option
def replay(sink: str, first: str, last: str | None, *, as_json: bool) -> None:
    """Send events to SINK once more: those that are allowed now, up to its bookmark, behind the live export.

    Each record has the id that it had before, by which a receiver drops repeats. Dead letters among them are tried
    again. `export status` shows how far it is.
    """
    settings = Settings.load()
    store = postgres(settings)
    (name,) = configured_sinks(settings, [sink])
    state = ledger.states(store).get(name)
    if state is None:
        raise Missing(f"{name} was never served; let it begin with: analytics-pipeline export start {name} --from …")
    from_id = first_id(store, first)
    to_id = state.bookmark_id if last is None else last_id(store, last)
    if to_id < from_id:
        raise click.UsageError(f"there is nothing from {from_id} to {to_id}")
    past.replay(store, name, from_id, to_id)
    if as_json:
        print_json({"sink": name, "first_id": from_id, "last_id": to_id})
    else:
        click.echo(f"{name} gets the events {from_id} to {to_id} again; see: analytics-pipeline export status")
