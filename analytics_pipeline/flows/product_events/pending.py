"""Days of product events whose figures lack something: late events, a newer definition, or themselves."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta

from analytics_pipeline.flows.held_days import lost_at_rest, note_losses
from analytics_pipeline.flows.product_events.aggregates.build import lacks_events
from analytics_pipeline.flows.product_events.aggregates.tables import AGGREGATES, Aggregate
from analytics_pipeline.flows.product_events.ledger import Recorded, recorded
from analytics_pipeline.flows.product_events.source import SeenDay, has_expired, rows_by_day, seen_days
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.postgres import Postgres

# So many days, today among them, are computed anew each hour, whatever is known of them.
RECENT = 3


def recent_days(today: date, start: date) -> tuple[date, date]:
    """The first and the last day that are computed each hour."""
    return max(start, today - timedelta(days=RECENT - 1)), today


def touched_days(
    postgres: Postgres, clickhouse: ClickHouse, now: datetime, start: date, retention_days: int
) -> list[date]:
    """Days from `start` on, before the recent ones, whose figures are to be computed anew, in order.

    Events have come since, nobody vouches for the figures, they were never computed, or another statement computes
    them now. Days of which events have expired or were lost are not among them: their figures are all that is left.
    """
    today = now.date()
    first_recent, _ = recent_days(today, start)
    held = {
        day: rows
        for day, rows in rows_by_day(clickhouse).items()
        if start <= day < first_recent and not has_expired(day, today, retention_days)
    }
    touched: set[date] = set()
    for aggregate in AGGREGATES if held else ():
        note_losses(postgres, clickhouse, aggregate.table)
        touched |= _touched(postgres, clickhouse, aggregate, held, now)
    return sorted(touched)


def _touched(
    postgres: Postgres, clickhouse: ClickHouse, aggregate: Aggregate, held: Mapping[date, int], now: datetime
) -> set[date]:
    known = recorded(postgres, aggregate.name, min(held), max(held))
    # Being swapped, a day has a run of its own, which is about to record it.
    swapping = postgres.is_leased(aggregate.table.lease)
    lost = lost_at_rest(postgres, aggregate.table)
    suspects = {
        day: rows
        for day, rows in held.items()
        if not (swapping and day not in known) and (day in lost or not _is_as_recorded(aggregate, known.get(day), rows))
    }
    if not suspects:
        return set()
    moments = {day: one.settled_until for day, one in known.items()}
    seen = seen_days(clickhouse, list(suspects), now, moments)
    return {day for day in suspects if _is_to_compute(aggregate, seen[day], known.get(day), is_lost=day in lost)}


def _is_as_recorded(aggregate: Aggregate, known: Recorded | None, rows: int) -> bool:
    """Whether the figures hold, by the rows of the day; with more rows, repeats may only not be merged yet."""
    return known is not None and known.holds and known.definition == aggregate.definition and rows == known.events


def _is_to_compute(aggregate: Aggregate, seen: SeenDay, known: Recorded | None, *, is_lost: bool) -> bool:
    if lacks_events(seen, known):
        return False
    return is_lost or not _is_as_recorded(aggregate, known, seen.events)
