"""Parts that the commands of `export` share: the configured sinks, and places in the event log."""

import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone

import click

from analytics_pipeline.cli.errors import Exit
from analytics_pipeline.config import Settings
from analytics_pipeline.flows.usage_export.errors import NoSuchEvent
from analytics_pipeline.flows.usage_export.ledger import states
from analytics_pipeline.flows.usage_export.source import first_id_since, last_id_before
from analytics_pipeline.resources.postgres import Postgres

BEGINNING = "beginning"


class Missing(click.ClickException):
    """Something has to be set or begun first; the message says how."""

    exit_code = Exit.GAPS


def configured_sinks(settings: Settings, names: Sequence[str]) -> list[str]:
    """The sinks of these names; all that are configured when none is named.

    Raises:
        Missing: a name is not among them, or there is none.
    """
    known = [sink.name for sink in settings.sinks]
    if not known:
        raise Missing("EXPORT_SINKS names no sink (see .env.example)")
    for name in names:
        if name not in known:
            raise Missing(f"{name[:60]} is no sink of EXPORT_SINKS, which names {', '.join(known)}")
    return [name for name in known if name in names] if names else known


def require_known(settings: Settings, store: Postgres, sink: str | None) -> None:
    """Nothing is known of the sink: is it one at all?

    Raises:
        Missing: it is not configured and was never served, so its name is probably misspelt.
    """
    if sink is not None and sink not in {*(one.name for one in settings.sinks), *states(store)}:
        raise Missing(
            f"{sink[:60]} is no sink of EXPORT_SINKS and was never served; see: analytics-pipeline export status"
        )


def first_id(store: Postgres, place: str) -> int:
    """The id of the first event of a place: `beginning`, an id, or a day of UTC.

    Raises:
        click.BadParameter: it is no place, or nothing is there.
    """
    if place == BEGINNING:
        return 1
    return _id(place, lambda day: first_id_since(store, day))


def last_id(store: Postgres, place: str) -> int:
    """The id of the last event of a place: an id, or a day of UTC, that day's own included."""
    return _id(place, lambda day: last_id_before(store, day + timedelta(days=1)))


def _id(place: str, of_day: Callable[[datetime], int]) -> int:
    text = place.strip()
    if re.fullmatch(r"[0-9]{1,18}", text):
        return int(text)
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=timezone.utc)
    except ValueError:
        raise click.BadParameter(f"{text[:40]!r} is neither an id nor a day such as 2026-05-01") from None
    try:
        return of_day(day)
    except NoSuchEvent as error:
        raise click.BadParameter(str(error)) from None
