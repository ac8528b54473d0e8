"""All events, counted by type and service."""

from dataclasses import dataclass
from datetime import date, datetime

from analytics_pipeline.flows.product_events.aggregates.tables import EVENT_COUNTS
from analytics_pipeline.flows.product_events.reads.query import EventQuery
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


def daily(
    reading: Reading, query: EventQuery, *, limit: int = MOST, offset: int = 0
) -> Answer[tuple[EventsOfDay, ...]]:
    """Each day's events by type, name and service, the newest day first."""
    select = _SELECT.format(group="date", order="part DESC, event_type, name, service", figures="{figures}")
    answer = reading.rows(EVENT_COUNTS, query, select, limit=limit, offset=offset)
    return answer.of(tuple(EventsOfDay(day, EventCount(*rest)) for day, *rest in answer.value))


def by_type(
    reading: Reading, query: EventQuery, *, limit: int = MOST, offset: int = 0
) -> Answer[tuple[EventCount, ...]]:
    """The range's events by type, name and service, the most frequent first."""
    select = _SELECT.format(group="0", order="found DESC, event_type, name, service", figures="{figures}")
    answer = reading.rows(EVENT_COUNTS, query, select, limit=limit, offset=offset)
    return answer.of(tuple(EventCount(*rest) for _, *rest in answer.value))


_SELECT = """
    SELECT {group} AS part, event_type, name, service, sum(events) AS found, max(last_at)
    FROM {figures}
    GROUP BY part, event_type, name, service
    ORDER BY {order}
    LIMIT {{{{limit:UInt32}}}} OFFSET {{{{offset:UInt32}}}}
"""
