"""Events themselves, as they are stored: the newest first, page by page."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from analytics_pipeline.flows.product_events.reads.query import EventQuery
from analytics_pipeline.flows.product_events.reads.reading import Reading
from analytics_pipeline.flows.product_events.registry import COLUMN_MEMBERS
from analytics_pipeline.resources.sql_files import sql_file


@dataclass(frozen=True)
class StoredEvent:
    """An event after the privacy policy. `fields` are the members of its type that it has, `data` all other ones."""

    organisation_id: int
    event_id: UUID
    timestamp: datetime
    received_at: datetime
    event_type: str
    name: str
    service: str
    user_id: UUID | None
    hostname: str
    environment: str
    fields: Mapping[str, Any]
    data: str


@dataclass(frozen=True)
class EventFilter:
    """Narrows a list of events; None: whatever they have."""

    event_type: str | None = None
    name: str | None = None
    service: str | None = None
    user_id: UUID | None = None
    environment: str | None = None


@dataclass(frozen=True)
class Place:
    """Where a page ends: the time stamp (UTC), organisation and id of its last event."""

    timestamp: datetime
    organisation_id: int
    event_id: UUID


ANY = EventFilter()


def events(
    reading: Reading, query: EventQuery, of: EventFilter = ANY, *, limit: int = 100, after: Place | None = None
) -> list[StoredEvent]:
    """At most `limit` events of the days, the newest first; `after` is the place of the last one of the page before.

    Events are there for as long as they are kept (EVENT_RETENTION_DAYS); `data` is the text of a JSON object.
    """
    wanted, parameters = _conditions(query, of, after)
    rows = reading.clickhouse.query_named(
        sql_file(__package__, "events.sql", WANTED=" AND ".join(wanted)),
        first=query.first,
        end=query.end,
        limit=limit,
        **parameters,
    )
    return [_event(row) for row in rows]


def _event(row: Mapping[str, Any]) -> StoredEvent:
    fields = {name: row[name] for name in COLUMN_MEMBERS if row[name] not in (None, "")}
    return StoredEvent(**{name: row[name] for name in _ENVELOPE}, fields=fields, data=row["data_text"])


def _conditions(query: EventQuery, of: EventFilter, after: Place | None) -> tuple[list[str], dict[str, Any]]:
    filters: dict[str, tuple[str, Any]] = {
        "organisation_id": ("UInt64", query.organisation_id),
        "event_type": ("String", of.event_type),
        "name": ("String", of.name),
        "service": ("String", of.service),
        "user_id": ("UUID", of.user_id),
        "environment": ("String", of.environment),
    }
    given = {name: one for name, one in filters.items() if one[1] is not None}
    wanted = [f"{name} = {{{name}:{kind}}}" for name, (kind, _) in given.items()]
    parameters = {name: value for name, (_, value) in given.items()}
    if after is not None:
        wanted.append(
            "(timestamp, organisation_id, event_id)"
            " < ({after:DateTime64(3, 'UTC')}, {after_organisation:UInt64}, {after_id:UUID})"
        )
        place = {"after": after.timestamp, "after_organisation": after.organisation_id, "after_id": after.event_id}
        parameters |= place
    return wanted or ["true"], parameters


_ENVELOPE = (
    "organisation_id",
    "event_id",
    "timestamp",
    "received_at",
    "event_type",
    "name",
    "service",
    "user_id",
    "hostname",
    "environment",
)
