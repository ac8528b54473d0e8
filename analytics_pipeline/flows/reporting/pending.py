"""What reporting lacks at a moment, by its own ledgers: source days to copy, local dates to compute.

Both are derived again on every look, so a lost tick or a failed run loses nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from analytics_pipeline.flows.daily_copy.source import day_start, next_day
from analytics_pipeline.flows.daily_copy.touched import touched_days
from analytics_pipeline.flows.reporting.accounts import Account, accounts
from analytics_pipeline.flows.reporting.coverage import account_days, copies, coverage, recently_copied, stale
from analytics_pipeline.flows.reporting.registry import REGISTRY
from analytics_pipeline.flows.reporting.source import REPORTING_EVENTS
from analytics_pipeline.resources.postgres import Postgres

_DAY = timedelta(days=1)
# Copies that are younger may have made old dates stale that nothing has asked for yet.
RECENT = timedelta(hours=1)


@dataclass(frozen=True)
class Pending:
    """Source days (UTC) to copy and local dates to compute; `state` changes whenever what they wait for does."""

    copies: tuple[date, ...]
    rollups: tuple[date, ...]
    state: str = ""


def live(postgres: Postgres, now: datetime, since: date) -> Pending:
    """What has changed a moment ago: today's and yesterday's figures, and old days that late rows touched.

    Days before `since` have no partition. Dates that wait for a copy are asked for when that has landed.
    """
    zoned = accounts(postgres).zoned
    if not zoned:
        return Pending((), ())
    today = now.date()
    touched = touched_days(postgres, REPORTING_EVENTS, since, today + _DAY)
    copied = copies(postgres, today - 2 * _DAY, today).copied_at
    to_copy = {state.day for state in touched} | {day for day in (today - _DAY, today) if day not in copied}
    current = {today - _DAY, today, today + _DAY}
    around = {near for day in recently_copied(postgres, now - RECENT) for near in _around(day)}
    waiting = {near for day in to_copy for near in _around(day)}
    to_compute = [day for day in _stale(postgres, zoned, current | around, current) if day not in waiting]
    return Pending(
        _sorted(day for day in to_copy if day >= since),
        _sorted(day for day in to_compute if day >= since),
        repr([touched, sorted(copied.items())]),
    )


def closed(postgres: Postgres, now: datetime, first: date, since: date) -> Pending:
    """What the closed days from `first` on lack: a copy that was made after the day had ended, and its rollups.

    Days before `since` have no partition.
    """
    zoned = accounts(postgres).zoned
    if not zoned:
        return Pending((), ())
    days = [first + number * _DAY for number in range((now.date() - first).days)]
    copied = copies(postgres, first - _DAY, now.date()).copied_at
    # East of Greenwich a date begins on the UTC day before.
    sources = [day for day in (first - _DAY, *days) if day >= since]
    to_copy = {day for day in sources if day not in copied or copied[day] < day_start(next_day(day))}
    waiting = {near for day in to_copy for near in _around(day)}
    to_compute = [day for day in _stale(postgres, zoned, set(days), set(days)) if day not in waiting]
    return Pending(_sorted(to_copy), _sorted(to_compute))


def _stale(postgres: Postgres, zoned: Iterable[Account], dates: set[date], also_new: set[date]) -> list[date]:
    """The dates whose rollups do not hold. Those outside `also_new` only where there were rollups before."""
    if not dates:
        return []
    first, last = min(dates), max(dates)
    days = [day for day in account_days(list(zoned), first, last) if day.date in dates]
    sources = copies(postgres, first - 2 * _DAY, last + 2 * _DAY)
    found = stale(days, coverage(postgres, first, last), sources, REGISTRY)
    return [
        day.date
        for reason, ones in found.items()
        for day in ones
        if (reason != "never" or day.date in also_new) and sources.newest(day.bounds)
    ]


def _around(day: date) -> list[date]:
    """The local dates, anywhere on earth, that a UTC day overlaps."""
    return [day - _DAY, day, day + _DAY]


def _sorted(days: Iterable[date]) -> tuple[date, ...]:
    return tuple(sorted(set(days)))
