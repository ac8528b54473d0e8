"""The types of events, and where each of their members is stored: the SDK's types are the only list.

A member whose name a column of `analytics_events` has goes there, every other one into its column `data`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any
from uuid import UUID

import msgspec

from analytics_pipeline_sdk.events import EVENT_TYPES, AnyEvent, CustomEvent, Event, wire_name

# Members of single types that have a column of their own.
COLUMN_MEMBERS = (
    "task_id",
    "project_id",
    "cocoon_id",
    "integration_id",
    "provider",
    "success",
    "duration_ms",
    "duration_seconds",
    "exit_code",
    "endpoint",
    "method",
    "status_code",
    "error_type",
    "error_message",
)


class Row(msgspec.Struct, array_like=True, gc=False):
    """A row of `analytics_events`: its columns in their order. Moments are seconds since 1970, to the millisecond."""

    organisation_id: int
    event_id: UUID
    timestamp: float
    received_at: float
    skew_ms: int | None
    event_type: str
    name: str | None
    service: str
    hostname: str
    environment: str
    sdk: str
    user_id: UUID | None = None
    task_id: UUID | None = None
    project_id: UUID | None = None
    cocoon_id: UUID | None = None
    integration_id: UUID | None = None
    provider: str | None = None
    success: bool | None = None
    duration_ms: int | None = None
    duration_seconds: int | None = None
    exit_code: int | None = None
    endpoint: str | None = None
    method: str | None = None
    status_code: int | None = None
    error_type: str | None = None
    error_message: str | None = None
    data: dict[str, Any] | None = None

    @property
    def key(self) -> tuple[int, int]:
        """The organisation and the id: stored once."""
        return self.organisation_id, self.event_id.int


COLUMNS: tuple[str, ...] = Row.__struct_fields__


@dataclass(frozen=True)
class Shape:
    """How events of one type become rows.

    `columns` picks the values of `name`, `service`, `user_id` and `COLUMN_MEMBERS` out of those of the type's members,
    in their order, with a None after them. `others` are the places and names of the members that have no column.
    """

    type: str
    columns: Callable[[Sequence[Any]], tuple[Any, ...]]
    others: tuple[tuple[int, str], ...]


def _shape(kind: type[Event]) -> Shape:
    members = kind.__struct_fields__
    # `name` has a column of custom events alone.
    columns = ("name" if kind is CustomEvent else "", "service", "user_id", *COLUMN_MEMBERS)
    places = [members.index(name) if name in members else len(members) for name in columns]
    others = tuple((place, name) for place, name in enumerate(members) if place not in places)
    return Shape(wire_name(kind), itemgetter(*places), others)


def _every_type() -> tuple[type[Event], ...]:
    """The types of the list, and the old spellings, which are read as well."""
    kinds: tuple[type[Event], ...] = AnyEvent.__args__
    return kinds


SHAPES: Mapping[type[Event], Shape] = {kind: _shape(kind) for kind in _every_type()}
MEMBERS: Mapping[str, tuple[str, ...]] = {wire_name(kind): kind.__struct_fields__ for kind in EVENT_TYPES}


def schema() -> dict[str, Any]:
    """JSON Schema of every event that is accepted, and of a batch."""
    from analytics_pipeline.flows.product_events.decoding import WholeBatch

    return msgspec.json.schema(WholeBatch)
