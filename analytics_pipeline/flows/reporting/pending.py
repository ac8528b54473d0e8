"""Gaps of reporting by source, ledgers and ClickHouse: source days to copy, local dates to compute.

Both are derived again on every look, so a lost tick or a failed run loses nothing.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from analytics_pipeline.flows.daily_copy.changed import changed_days, days_in_turn
from analytics_pipeline.flows.daily_copy.watermark import follow
from analytics_pipeline.flows.held_days import lost_at_rest, note_losses
from analytics_pipeline.flows.reporting.accounts import Account, accounts
from analytics_pipeline.flows.reporting.ledger import account_days, copies, coverage, stale
from analytics_pipeline.flows.reporting.registry import REGISTRY, Registry
from analytics_pipeline.flows.reporting.rollups import BOUNDS, ROLLUPS
from analytics_pipeline.flows.reporting.source import REPORTING_EVENTS
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.postgres import Postgres

_DAY = timedelta(days=1)
# Copies that are younger may have made old dates stale that nothing has asked for yet.
RECENT = timedelta(hours=1)
# So many outdated dates are asked for at a time, the newest first; the next look asks for more.
OUTDATED_AT_ONCE = 400


@dataclass(frozen=True)
class Pending:
    """Source days (UTC) to copy and local dates to compute."""

    copies: tuple[date, ...]
    rollups: tuple[date, ...]


def live(postgres: Postgres, clickhouse: ClickHouse, now: datetime, since: date) -> Pending:
    """Recent changes: today's and yesterday's figures, days that late rows touched or ClickHouse lost.

    Days before `since` have no partition. Dates that wait for a copy are asked for when that has landed.
    """
    zoned = accounts(postgres).zoned
    if not zoned:
        return Pending((), ())
    today = now.date()
    lost = _lost(postgres, clickhouse)
    touched = follow(postgres, REPORTING_EVENTS, since, today + _DAY)
    sources = copies(postgres, today - 2 * _DAY, today)
    to_copy = {day.day for day in touched} | {day for day in (today - _DAY, today) if sources.lacks(day, now)}
    to_copy |= {day for day in lost.copies if day <= today + _DAY}
    to_copy = _from(since, to_copy)
    current = {today - _DAY, today, today + _DAY}
    old = outdated(postgres, REGISTRY, now - RECENT)
    waiting = {near for day in to_copy for near in _around(day)}
    to_compute = old.union(lost.rollups, _stale(postgres, zoned, current)) - waiting
    return Pending(_sorted(to_copy), _sorted(_from(since, to_compute)))


def closed(postgres: Postgres, clickhouse: ClickHouse, now: datetime, first: date, since: date) -> Pending:
    """Gaps of the closed days. Days before `since` have no partition.

    From `first` on: a copy that was made after the day had ended and is still what the source holds, so that rows that
    were deleted there go here as well; and rollups. Of all days before: holes, copies that no rollup has seen, rollups
    of an earlier registry, and, of those whose turn it is in this hour, copies that are not what the source holds.
    What ClickHouse holds of the compared days, and of all rollups, is compared with the ledger by its contents.
    """
    zoned = accounts(postgres).zoned
    if not zoned:
        return Pending((), ())
    days = _days(first, now.date() - _DAY)
    # East of Greenwich a date begins on the UTC day before.
    recent = [first - _DAY, *days]
    older = days_in_turn(since, recent[0] - _DAY, now)
    lost = _lost(postgres, clickhouse, [*older, *recent], _days(since, now.date() + _DAY))
    sources = copies(postgres, first - _DAY, now.date())
    uncopied, unrolled = uncovered(postgres, now.date())
    changed = changed_days(postgres, REPORTING_EVENTS, [*older, *recent])
    to_copy = _from(since, {day for day in recent if sources.lacks(day, now)} | uncopied | changed)
    waiting = {near for day in to_copy for near in _around(day)}
    stale_ones = _stale(postgres, zoned, set(days))
    to_compute = outdated(postgres, REGISTRY).union(lost.rollups, unrolled, stale_ones) - waiting
    return Pending(_sorted(to_copy), _sorted(_from(since, to_compute)))


def _lost(
    postgres: Postgres, clickhouse: ClickHouse, copies: Collection[date] = (), rollups: Collection[date] = ()
) -> Pending:
    """Days that ClickHouse does not hold as recorded; of these copies and rollups the contents are compared as well."""
    note_losses(postgres, clickhouse, REPORTING_EVENTS.held, copies)
    for table in (ROLLUPS, BOUNDS):
        note_losses(postgres, clickhouse, table, rollups)
    lost = lost_at_rest(postgres, ROLLUPS) | lost_at_rest(postgres, BOUNDS)
    return Pending(_sorted(lost_at_rest(postgres, REPORTING_EVENTS.held)), _sorted(lost))


def _days(first: date, last: date) -> list[date]:
    return [first + number * _DAY for number in range((last - first).days + 1)]


def _stale(postgres: Postgres, zoned: Iterable[Account], dates: set[date]) -> set[date]:
    """Those of these few dates whose rollups do not hold, or that have none though their events are there."""
    if not dates:
        return set()
    first, last = min(dates), max(dates)
    days = [day for day in account_days(list(zoned), first, last) if day.date in dates]
    sources = copies(postgres, first - 2 * _DAY, last + 2 * _DAY)
    found = stale(days, coverage(postgres, first, last), sources, REGISTRY)
    return {day.date for ones in found.values() for day in ones if sources.newest(day.bounds)}


def _from(since: date, days: Iterable[date]) -> set[date]:
    """The days that have a partition. Nothing must wait for others: they are never copied."""
    return {day for day in days if day >= since}


def _around(day: date) -> list[date]:
    """The local dates, anywhere on earth, that a UTC day overlaps."""
    return [day - _DAY, day, day + _DAY]


def _sorted(days: Iterable[date]) -> tuple[date, ...]:
    return tuple(sorted(set(days)))


def outdated(postgres: Postgres, registry: Registry, since: datetime | None = None) -> set[date]:
    """Covered dates whose source days were swapped after their rollups were computed, the newest few hundred.

    `since` narrows to swaps from then on. Without it, dates of another version of the registry are among them.
    """
    rows = postgres.query(
        _OUTDATED, source=REPORTING_EVENTS.name, since=since, registry=registry.version, limit=OUTDATED_AT_ONCE
    )
    return {day for (day,) in rows}


def uncovered(postgres: Postgres, today: date) -> tuple[set[date], set[date]]:
    """Holes before today: UTC days without a copy, and dates without any rollup; between the first there was and today.

    The newest few hundred of each.
    """
    parameters = {"source": REPORTING_EVENTS.name, "today": today, "limit": OUTDATED_AT_ONCE}
    days = {day for (day,) in postgres.query(_UNCOPIED, **parameters)}
    return days, {day for (day,) in postgres.query(_UNROLLED, today=today, limit=OUTDATED_AT_ONCE)}


# One pass in the database: the coverage of all accounts over years would not fit into a look of the sensor.
_OUTDATED = """
    SELECT DISTINCT covered.date
    FROM analytics_pipeline.reporting_coverage AS covered
    LEFT JOIN analytics_pipeline.held_copies AS copy
        ON copy.source = %(source)s AND copy.day BETWEEN covered.date - 1 AND covered.date + 1
        AND copy.day::timestamp AT TIME ZONE 'UTC' < covered.ends_at
        AND (copy.day + 1)::timestamp AT TIME ZONE 'UTC' > covered.starts_at
        AND (%(since)s::timestamptz IS NULL OR copy.swapped_at > %(since)s)
    WHERE copy.swapped_at > coalesce(covered.source_swapped_at, '-infinity')
        OR (%(since)s::timestamptz IS NULL AND covered.registry_version <> %(registry)s)
    ORDER BY covered.date DESC
    LIMIT %(limit)s
"""

_UNCOPIED = """
    SELECT hole.day::date
    FROM generate_series(
        (SELECT min(day) FROM analytics_pipeline.source_copies WHERE source = %(source)s)::timestamp,
        %(today)s::timestamp - interval '1 day', interval '1 day'
    ) AS hole (day)
    WHERE NOT EXISTS (
        SELECT FROM analytics_pipeline.held_copies WHERE source = %(source)s AND held_copies.day = hole.day::date
    )
    ORDER BY 1 DESC
    LIMIT %(limit)s
"""

_UNROLLED = """
    SELECT hole.day::date
    FROM generate_series(
        (SELECT min(date) FROM analytics_pipeline.reporting_coverage)::timestamp,
        %(today)s::timestamp - interval '1 day', interval '1 day'
    ) AS hole (day)
    WHERE NOT EXISTS (SELECT FROM analytics_pipeline.held_rollups WHERE date = hole.day::date)
    ORDER BY 1 DESC
    LIMIT %(limit)s
"""
