"""The ledgers `product_event_days` and `ingestion_totals`.

The first knows which days each aggregate has, and of which events they are. An aggregate's day holds while ClickHouse
has its rows as they were recorded, which `held_days` knows. The second counts what ingestion has answered.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from analytics_pipeline.flows.product_events.source import SeenDay
from analytics_pipeline.resources.postgres import Connection, Postgres

# The version of a day that is being swapped.
UNKNOWN = -1


@dataclass(frozen=True)
class Recorded:
    """The events that a day's figures are of: how many there were, received until when, counted by which statement.

    `version` is that of the figures in milliseconds, `UNKNOWN` while they are swapped, and None when nobody vouches for
    them: they are lost, or were never there.
    """

    events: int
    settled_until: datetime
    definition: str
    version: int | None

    @property
    def holds(self) -> bool:
        """Whether the figures are there as they were computed, as far as anybody has noticed."""
        return self.version is not None


def recorded(postgres: Postgres, relation: str, first: date, last: date) -> dict[date, Recorded]:
    """The days of one aggregate that were ever computed, both ends inclusive."""
    rows = postgres.query(_RECORDED, relation=relation, first=first, last=last, unknown=UNKNOWN)
    return {day: Recorded(*rest) for day, *rest in rows}


def first_day(postgres: Postgres) -> date | None:
    """The first day that had events when it was computed."""
    ((first,),) = postgres.query(_FIRST)
    return first if isinstance(first, date) else None


def recorded_events(postgres: Postgres) -> dict[date, int]:
    """The most events that figures of each day are of, whatever has become of the figures."""
    return dict(postgres.query(_EVENTS))


def record(
    connection: Connection,
    relation: str,
    definition: str,
    days: Mapping[date, tuple[SeenDay, int]],
    settled_until: datetime,
    run_id: str,
) -> None:
    """The figures of these days are visible, with so many rows each, and are of the settled events that were seen."""
    connection.cursor().executemany(
        _RECORD,
        [
            [relation, day, seen.settled, seen.newest, settled_until, rows, definition, run_id]
            for day, (seen, rows) in days.items()
        ],
    )


def add_verdicts(postgres: Postgres, events: Mapping[str, int]) -> None:
    """Add events to the totals of their verdicts."""
    with postgres.ledgers.connect() as connection:
        connection.cursor().executemany(_ADD, sorted(events.items()))


@dataclass(frozen=True)
class Answered:
    """How many events ingestion has answered with a verdict, ever, and when it last did (UTC)."""

    verdict: str
    events: int
    last_at: datetime


def answered(postgres: Postgres) -> list[Answered]:
    """The totals of every verdict that was ever given, by name."""
    return [Answered(*row) for row in postgres.query(_ANSWERED)]


_RECORDED = """
    SELECT
        days.day, days.events, days.settled_until, days.definition,
        CASE WHEN held.day IS NOT NULL THEN coalesce(held.version, %(unknown)s) END
    FROM analytics_pipeline.product_event_days AS days
    LEFT JOIN analytics_pipeline.held_product_event_days AS held USING (relation, day)
    WHERE days.relation = %(relation)s AND days.day BETWEEN %(first)s AND %(last)s
"""

_EVENTS = "SELECT day, max(events) FROM analytics_pipeline.product_event_days GROUP BY day"

_FIRST = "SELECT min(day) FROM analytics_pipeline.product_event_days WHERE events > 0"

_RECORD = """
    INSERT INTO analytics_pipeline.product_event_days AS days (
        relation, day, events, newest_received_at, settled_until, rows, definition, run_id
    )
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (relation, day) DO UPDATE SET
        events = excluded.events,
        newest_received_at = excluded.newest_received_at,
        settled_until = excluded.settled_until,
        rows = excluded.rows,
        definition = excluded.definition,
        run_id = excluded.run_id,
        computed_at = clock_timestamp()
"""

# Workers add in the same order, or they would wait for each other.
_ADD = """
    INSERT INTO analytics_pipeline.ingestion_totals AS totals (verdict, events, last_at)
    VALUES (%s, %s, clock_timestamp())
    ON CONFLICT (verdict) DO UPDATE SET events = totals.events + excluded.events, last_at = excluded.last_at
"""

_ANSWERED = "SELECT verdict, events, last_at FROM analytics_pipeline.ingestion_totals ORDER BY verdict"
