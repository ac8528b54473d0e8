"""All events, counted by type and service."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import TypeAlias

from analytics_pipeline.flows.product_events.aggregates.tables import EVENT_COUNTS
from analytics_pipeline.flows.product_events.reads.query import ASCENDING, DESCENDING, EventQuery, Order
from analytics_pipeline.flows.product_events.reads.reading import Answer, Reading

MOST = 10_000


@dataclass(frozen=True)
class EventCount:
    """Events of one type, name (of custom ones, else empty) and service; `last_at` (UTC) is the latest of them."""

    event_type: str
    name: str
    service: str
    events: int
    last_at: datetime


@dataclass(frozen=True)
class EventsOfDay:
    """A UTC day's events of one type and service."""

    day: date
    count: EventCount


def daily(reading: Reading, query: EventQuery, *, limit: int = MOST) -> Answer[tuple[EventsOfDay, ...]]:
    """Each day's events by type, name and service, the newest day first."""
    order = "part DESC, event_type, name, service"
    select = _SELECT.format(group="date", order=order, wanted="true", figures="{figures}")
    answer = reading.rows(EVENT_COUNTS, query, select, limit=limit)
    return answer.of(tuple(EventsOfDay(day, EventCount(*rest)) for day, *rest in answer.value))


# How often, type, name and service: the key of a row and its place.
Place: TypeAlias = tuple[int, str, str, str]
_ORDER = Order(
    (
        ("found", "UInt64", DESCENDING),
        ("event_type", "String", ASCENDING),
        ("name", "String", ASCENDING),
        ("service", "String", ASCENDING),
    )
)


def by_type(
    reading: Reading, query: EventQuery, *, limit: int = MOST, after: Place | None = None
) -> Answer[tuple[EventCount, ...]]:
    """The range's events by type, name and service, the most frequent first; those after this place of the order."""
    wanted, place = _ORDER.after(after)
    order = "found DESC, event_type, name, service"
    select = _SELECT.format(group="0", order=order, wanted=wanted, figures="{figures}")
    answer = reading.rows(EVENT_COUNTS, query, select, limit=limit, **place)
    return answer.of(tuple(EventCount(*rest) for _, *rest in answer.value))


_SELECT = """
    SELECT {group} AS part, event_type, name, service, sum(events) AS found, max(last_at)
    FROM {figures}
    GROUP BY part, event_type, name, service
    HAVING {wanted}
    ORDER BY {order}
    LIMIT {{{{limit:UInt32}}}}
"""
