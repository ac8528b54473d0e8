"""`analytics-pipeline events`: what services send, as it comes in, and what was rejected."""

import time
from datetime import datetime

import click
import msgspec
from rich.markup import escape
from rich.table import Table

from analytics_pipeline.cli.errors import Exit
from analytics_pipeline.cli.output import json_option, new_console, print_json
from analytics_pipeline.config import Settings
from analytics_pipeline.flows.product_events import letters
from analytics_pipeline.flows.product_events.errors import StoreAway
from analytics_pipeline.flows.product_events.letters import Letter
from analytics_pipeline.flows.product_events.replay import replay as replayed
from analytics_pipeline.flows.product_events.tail import Shown
from analytics_pipeline.flows.product_events.tail import tail as new_tail
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.clickhouse.connection import connect
from analytics_pipeline.resources.postgres import postgres

_LOOK_SECONDS = 1.0
_organisation = click.option("--organisation", type=click.IntRange(0), help="Of this organisation alone.")


@click.group()
def events() -> None:
    """Events of product services: see them come in, and look after those that were rejected."""


@events.command()
@click.option("--type", "event_type", help="Events of this type alone, e.g. task_created.")
@click.option("--service", help="Events of this service alone.")
@_organisation
@click.option("--since", default=60.0, show_default=True, help="Begin so many seconds ago.")
@click.option("--for", "seconds", type=float, help="End after so many seconds; without it, Ctrl-C ends.")
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each event and nothing else.")
def tail(
    event_type: str | None,
    service: str | None,
    organisation: int | None,
    since: float,
    seconds: float | None,
    *,
    as_json: bool,
) -> None:
    """Show events as they come in, each once."""
    ends = None if seconds is None else time.monotonic() + seconds
    with connect(Settings.load(), Tag("product_events", "tail")) as clickhouse:
        found = new_tail(clickhouse, since, event_type=event_type, service=service, organisation_id=organisation)
        while True:
            for one in found.new():
                click.echo(_line(one, as_json=as_json))
            if ends is not None and time.monotonic() >= ends:
                return
            time.sleep(_LOOK_SECONDS)


def _line(one: Shown, *, as_json: bool) -> str:
    if as_json:
        return msgspec.json.encode(one).decode()
    what = " ".join(filter(None, (one.event_type, one.name, one.endpoint, one.error_message)))
    return f"{one.timestamp:%Y-%m-%d %H:%M:%S.%f}"[:-3] + f" org {one.organisation_id} {one.service} {what}"


@events.group("dead-letters")
def dead_letters() -> None:
    """Events that were rejected: kept for 14 days, at most 10,000 of an organisation, without what is personal."""


@dead_letters.command("list")
@_organisation
@json_option
def list_all(organisation: int | None, *, as_json: bool) -> None:
    """Show them, with the reason of each. Exit code 3 when there are any."""
    found = letters.listed(postgres(Settings.load()), organisation)
    if as_json:
        print_json(found)
    elif found:
        _show(found)
    else:
        click.echo("There are no dead letters.")
    raise SystemExit(Exit.GAPS if found else Exit.DONE)


def _show(found: list[Letter]) -> None:
    table = Table("organisation", "when", "event", "reason", title="Dead letters", title_justify="left")
    for one in found:
        table.add_row(str(one.organisation_id), _moment(one.recorded_at), escape(one.event_id), escape(one.reason))
    new_console().print(table)


@dead_letters.command()
@_organisation
@json_option
def replay(organisation: int | None, *, as_json: bool) -> None:
    """Send them through ingestion once more: what is acceptable now is stored, the rest stays.

    It helps after an upgrade, or when EVENT_RETENTION_DAYS has grown.
    """
    settings = Settings.load()
    store = postgres(settings)
    found = letters.listed(store, organisation)
    try:
        with connect(settings, Tag("product_events", "replay")) as clickhouse:
            done = replayed(settings, store, clickhouse, found)
    except StoreAway as error:
        raise click.ClickException(f"{error}. Those that were not stored stay; run it again.") from None
    if as_json:
        print_json(done)
    else:
        gone = f" Removed, as they name somebody who was forgotten: {done.removed}." if done.removed else ""
        click.echo(f"Stored: {done.stored}. Still rejected: {done.kept}.{gone}")


@dead_letters.command()
@_organisation
@click.option("--all", "everything", is_flag=True, help="Of all organisations.")
@json_option
def purge(organisation: int | None, *, everything: bool, as_json: bool) -> None:
    """Remove them for good."""
    if (organisation is None) != everything:
        raise click.UsageError("say whose: --organisation ID, or --all")
    store = postgres(Settings.load())
    removed = letters.removed(store, [one.id for one in letters.listed(store, organisation)])
    if as_json:
        print_json({"removed": removed})
    else:
        click.echo(f"Removed: {removed}.")


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"
