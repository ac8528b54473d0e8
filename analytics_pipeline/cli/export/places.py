"""`analytics-pipeline export start`, `rename`, `drop` and `replay`: where a sink goes on, what it gets once more."""

from collections.abc import Iterator
from contextlib import contextmanager
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
        with _alone(store, name):
            ledger.move(store, name, after)
    else:
        with store.connect() as connection:
            open_until = newest(connection, store).open_until
        with store.ledgers.connect() as connection:
            ledger.create(connection, name, after, "{}", open_until)
    _told(name, after, as_json=as_json)


@contextmanager
def _alone(store: Postgres, name: str) -> Iterator[None]:
    """While no run serves the sink."""
    try:
        with store.lease(f"usage_export:{name}", patience=timedelta(seconds=10)):
            yield
    except LeaseHeld:
        told = f"a run is serving {name}; pause it, wait for the run's end (4 minutes at most), and try again"
        raise click.ClickException(told) from None


@click.command()
@click.argument("old")
@click.argument("new")
@click.option(
    "--again", is_flag=True, help="Also when NEW has begun already: it goes back, and what it got since it gets twice."
)
@json_option
def rename(old: str, new: str, *, again: bool, as_json: bool) -> None:
    """Let NEW go on where OLD is, after its name was changed in EXPORT_SINKS.

    Bookmark, awaited ids, histories, batches and dead letters of OLD are NEW's from then on. Without this NEW begins at
    the newest event like any new sink, and what OLD had not got does not leave.
    """
    settings = Settings.load()
    store = postgres(settings)
    (name,) = configured_sinks(settings, [new])
    if old in {sink.name for sink in settings.sinks}:
        raise click.ClickException(f"{old} is a sink of EXPORT_SINKS; change its name there first. Nothing was changed")
    served = ledger.states(store)
    if old not in served:
        raise Missing(f"{old[:60]} was never served; nothing was changed. See: analytics-pipeline export status")
    if name in served and not again:
        raise click.ClickException(f"{name} has begun already; let it go back with --again. Nothing was changed")
    with _alone(store, old), _alone(store, name):
        ledger.rename(store, old, name)
    _told(name, served[old].bookmark_id, as_json=as_json)


@click.command()
@click.argument("sink")
@json_option
def drop(sink: str, *, as_json: bool) -> None:
    """Forget SINK, which is no longer in EXPORT_SINKS: its bookmark, histories and dead letters. What it got stays."""
    settings = Settings.load()
    store = postgres(settings)
    if sink in {one.name for one in settings.sinks}:
        raise click.ClickException(f"{sink} is a sink of EXPORT_SINKS; take it out there first. Nothing was changed")
    with _alone(store, sink):
        if not ledger.drop(store, sink):
            raise Missing(f"{sink[:60]} was never served; nothing was changed. See: analytics-pipeline export status")
    if as_json:
        print_json({"sink": sink, "state": "dropped"})
    else:
        click.echo(f"{sink} is forgotten.")


def _told(name: str, after: int, *, as_json: bool) -> None:
    if as_json:
        print_json({"sink": name, "bookmark_id": after})
    else:
        click.echo(f"{name} goes on after the event {after}: allowed events with higher ids leave.")


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
