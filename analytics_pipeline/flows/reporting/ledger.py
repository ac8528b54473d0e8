"""The ledger `reporting_coverage`: which (account, local day) is rolled up, and whether that still holds.

A rollup holds while the account's zone, the day's bounds, the registry and the copied source days are those that it was
computed with. Anything else makes it stale, and readers fall back to the raw events.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Literal

from analytics_pipeline.flows.days import day_start, next_day
from analytics_pipeline.flows.reporting.accounts import Account
from analytics_pipeline.flows.reporting.registry import Registry
from analytics_pipeline.flows.reporting.source import REPORTING_EVENTS
from analytics_pipeline.flows.reporting.zones import DayBounds, canonical_of_stored, day_bounds, utc_days
from analytics_pipeline.resources.postgres import Connection, Postgres
from analytics_pipeline.resources.sql_files import sql_file

Reason = Literal["never", "timezone", "registry", "bounds", "source"]


@dataclass(frozen=True)
class AccountDay:
    """One account's local day and its bounds in UTC."""

    account: Account
    bounds: DayBounds

    @property
    def date(self) -> date:
        return self.bounds.date


@dataclass(frozen=True)
class LocalDays:
    """The same dates of several accounts. Accounts of one zone share the bounds of its days, which are here once."""

    accounts: Sequence[Account]
    bounds: Mapping[str, Sequence[DayBounds]]

    def __iter__(self) -> Iterator[AccountDay]:
        return (AccountDay(account, bounds) for account in self.accounts for bounds in self.bounds[account.timezone])

    def __len__(self) -> int:
        return sum(len(self.bounds[account.timezone]) for account in self.accounts)

    @property
    def distinct(self) -> set[DayBounds]:
        """The bounds, of which many zones have the same."""
        return {one for ones in self.bounds.values() for one in ones}


@dataclass(frozen=True)
class Covered:
    """An account's day as the ledger has it."""

    timezone: str
    starts_at: datetime
    ends_at: datetime
    registry_version: str
    complete: bool
    source_swapped_at: datetime | None


@dataclass(frozen=True)
class Copies:
    """When each UTC day of the source was last read into ClickHouse, and when that became visible there.

    The first tells what a day may lack; it is not known of days that have been lost since. The second rises with every
    swap, whichever copy was read first: it is what tells whether a rollup is of the events that are there.
    """

    copied_at: Mapping[date, datetime]
    swapped_at: Mapping[date, datetime]

    def without(self, lost: Collection[date]) -> "Copies":
        """The same when these days are lost: rollups that were made of them before hold all the same."""
        return replace(self, copied_at={day: at for day, at in self.copied_at.items() if day not in lost})

    def newest(self, bounds: DayBounds) -> datetime | None:
        """When the last copy of the day's source days became visible; None when none did."""
        return max((self.swapped_at[day] for day in utc_days(bounds) if day in self.swapped_at), default=None)

    def lacks(self, day: date, now: datetime) -> bool:
        """Whether ClickHouse may lack events of the source day: never read, or not again since it has ended."""
        return day not in self.copied_at or self.copied_at[day] < _end_of(day) <= now

    def is_complete(self, bounds: DayBounds) -> bool:
        """Whether all source days of the local day were read after it had ended, or after they had."""
        return all(
            day in self.copied_at and self.copied_at[day] >= min(bounds.ends_at, next_midnight)
            for day, next_midnight in ((day, _end_of(day)) for day in utc_days(bounds))
        )


def local_days(accounts: Sequence[Account], first: date, last: date) -> LocalDays:
    """The accounts' days from `first` to `last`."""
    zones = {account.timezone for account in accounts}
    return LocalDays(accounts, {zone: day_bounds(zone, first, last) for zone in zones})


def account_days(accounts: Iterable[Account], first: date, last: date) -> list[AccountDay]:
    """The same, one by one."""
    return list(local_days(list(accounts), first, last))


def copies(postgres: Postgres, first: date, last: date) -> Copies:
    """The copies of the UTC days from `first` to `last`."""
    rows = postgres.query(_COPIES, source=REPORTING_EVENTS.name, first=first, last=last)
    return Copies({day: at for day, at, _ in rows if at}, {day: at for day, _, at in rows})


def stale(
    days: Sequence[AccountDay], covered: Mapping[tuple[int, date], Covered], sources: Copies, registry: Registry
) -> dict[Reason, list[AccountDay]]:
    """The days whose rollup does not hold, by why."""
    found: dict[Reason, list[AccountDay]] = defaultdict(list)
    for day in days:
        reason = _reason(day, covered.get((day.account.id, day.date)), sources, registry)
        if reason:
            found[reason].append(day)
    return dict(found)


def _reason(day: AccountDay, covered: Covered | None, sources: Copies, registry: Registry) -> Reason | None:
    if covered is None:
        return "never"
    if canonical_of_stored(covered.timezone) != day.account.timezone:
        return "timezone"
    if covered.registry_version != registry.version:
        return "registry"
    if (covered.starts_at, covered.ends_at) != (day.bounds.starts_at, day.bounds.ends_at):
        return "bounds"
    return "source" if covered.source_swapped_at != sources.newest(day.bounds) else None


def coverage(
    postgres: Postgres, first: date, last: date, only: Collection[int] | None = None
) -> dict[tuple[int, date], Covered]:
    """The ledger's entry of each account and day, both dates inclusive; `only` narrows to accounts of those ids."""
    rows = postgres.query(_COVERAGE, first=first, last=last, only=None if only is None else list(only))
    return {(account, day): Covered(*rest) for account, day, *rest in rows}


def forget_others(connection: Connection, dates: Sequence[date], days: LocalDays, registry: Registry) -> None:
    """Of these dates, remove what is covered otherwise than `days` are about to be.

    To be done before their rollups are swapped: a process that dies after the swap must not leave a ledger that
    vouches for rows of another zone.
    """
    connection.execute(_FORGET, {"dates": list(dates), "registry": registry.version, **_columns(days)})


def record(connection: Connection, days: LocalDays, sources: Copies, registry: Registry, run_id: str) -> None:
    """The rollups of these days are visible and were computed from `sources`."""
    bounds = [one for ones in days.bounds.values() for one in ones]
    complete = {one: sources.is_complete(one) for one in days.distinct}
    newest = {one: sources.newest(one) for one in complete}
    values = {
        "complete": _array("true" if complete[one] else "false" for one in bounds),
        "source_swapped_at": _array(moment.isoformat() if (moment := newest[one]) else "NULL" for one in bounds),
        "registry": registry.version,
        "run_id": run_id,
    }
    connection.execute(sql_file(__package__, "record_coverage.sql"), {**values, **_columns(days)})


def _columns(days: LocalDays) -> dict[str, object]:
    """The accounts with their zones, and the zones' days: far fewer values than one for each account's day."""
    numbers = {zone: number for number, zone in enumerate(days.bounds)}
    bounds = [(numbers[zone], one) for zone, ones in days.bounds.items() for one in ones]
    return {
        "account": _array(str(account.id) for account in days.accounts),
        "timezone": [account.timezone for account in days.accounts],
        "zone_of_account": _array(str(numbers[account.timezone]) for account in days.accounts),
        "zone": _array(str(number) for number, _ in bounds),
        "date": _array(str(one.date) for _, one in bounds),
        "starts_at": _array(one.starts_at.isoformat() for _, one in bounds),
        "ends_at": _array(one.ends_at.isoformat() for _, one in bounds),
    }


def _array(values: Iterable[str]) -> str:
    """An array as Postgres writes it, of values that need no quotes: the driver takes as long as all else for them."""
    return f"{{{','.join(values)}}}"


def _end_of(day: date) -> datetime:
    return day_start(next_day(day))


_COPIES = """
    SELECT day, held.copied_at, copy.swapped_at FROM analytics_pipeline.source_copies AS copy
    LEFT JOIN analytics_pipeline.held_copies AS held USING (source, day)
    WHERE source = %(source)s AND day BETWEEN %(first)s AND %(last)s
"""

_COVERAGE = """
    SELECT account_id, date, timezone, starts_at, ends_at, registry_version, complete, source_swapped_at
    FROM analytics_pipeline.held_rollups
    WHERE date BETWEEN %(first)s AND %(last)s AND (%(only)s::bigint[] IS NULL OR account_id = ANY(%(only)s))
"""

_FORGET = """
    DELETE FROM analytics_pipeline.reporting_coverage
    WHERE date = ANY(%(dates)s) AND NOT (
        registry_version = %(registry)s
        AND (account_id, date, timezone, starts_at, ends_at) IN (
            SELECT account.id, day.date, account.timezone, day.starts_at, day.ends_at
            FROM unnest(%(account)s::bigint[], %(timezone)s::text[], %(zone_of_account)s::int[])
                AS account (id, timezone, zone)
            JOIN unnest(
                %(zone)s::int[], %(date)s::date[], %(starts_at)s::timestamptz[], %(ends_at)s::timestamptz[]
            ) AS day (zone, date, starts_at, ends_at) USING (zone)
        )
    )
"""
