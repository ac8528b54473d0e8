"""Where each part of a report is read: whole local days whose rollup holds in the rollups, all else in the events."""

from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone, tzinfo
from itertools import groupby

from analytics_pipeline.flows.days import next_day
from analytics_pipeline.flows.reporting.accounts import Account, Unzoned
from analytics_pipeline.flows.reporting.coverage import (
    AccountDay,
    Copies,
    Reason,
    account_days,
    coverage,
    stale,
)
from analytics_pipeline.flows.reporting.reads.periods import Period
from analytics_pipeline.flows.reporting.registry import Registry
from analytics_pipeline.flows.reporting.zones import canonical, zone
from analytics_pipeline.resources.postgres import Postgres


@dataclass(frozen=True)
class ReportZone:
    """The zone whose days a report shows, and whether they are the account's own, as the rollups are."""

    tz: tzinfo
    is_accounts: bool


@dataclass(frozen=True)
class Interval:
    """Moments [since, until) of UTC whose events are counted, and the number of the period they belong to."""

    since: datetime
    until: datetime
    period: int


@dataclass(frozen=True)
class ReadPlan:
    """Each moment of the periods once: the local days read from the rollups, with their period, and the raw rest."""

    rolled: Mapping[date, int]
    raw: Sequence[Interval]


def report_zone(account: Account | Unzoned, requested: str | timedelta | None, now: datetime) -> ReportZone:
    """The requested zone, else the account's, else UTC; an offset that the account's zone has `now` means that zone.

    So which days a report shows never depends on where it is read from.
    """
    own = account.timezone if isinstance(account, Account) else None
    if requested is None:
        return ReportZone(zone(own) if own else timezone.utc, own is not None)
    if isinstance(requested, str):
        return ReportZone(zone(requested), canonical(requested) == own)
    if own and now.astimezone(zone(own)).utcoffset() == requested:
        return ReportZone(zone(own), is_accounts=True)
    return ReportZone(timezone(requested), is_accounts=False)


def whole_days(account: Account, span: Period) -> list[AccountDay]:
    """The account's local days that lie in the span from their first moment to their last."""
    tz = zone(account.timezone)
    first, last = span.since.astimezone(tz).date(), span.until.astimezone(tz).date()
    return [
        day
        for day in account_days([account], first, next_day(last))
        if span.since <= day.bounds.starts_at < day.bounds.ends_at <= span.until
    ]


def holding(
    postgres: Postgres,
    days: Sequence[AccountDay],
    sources: Copies,
    registry: Registry,
    forgiven: Collection[Reason] = (),
) -> list[AccountDay]:
    """Those of one account's days whose rollup holds, or fails to for a `forgiven` reason."""
    if not days:
        return []
    ledger = coverage(postgres, days[0].date, days[-1].date, [days[0].account.id])
    reasons = stale(days, ledger, sources, registry)
    lapsed = {day for reason, ones in reasons.items() if reason not in forgiven for day in ones}
    return [day for day in days if day not in lapsed]


def read_plan(periods: Sequence[Period], held: Sequence[AccountDay]) -> ReadPlan:
    """How to read contiguous periods when the rollups of `held`, in order, hold."""
    starts = [period.since for period in periods]

    def number(day: AccountDay) -> int:
        return bisect_right(starts, day.bounds.starts_at) - 1

    usable = [day for day in held if _fits(day, periods[number(day)])]
    by_period = {key: list(days) for key, days in groupby(usable, number)}
    return ReadPlan(
        {day.date: key for key, days in by_period.items() for day in days},
        [gap for key, period in enumerate(periods) for gap in _gaps(key, period, by_period.get(key, []))],
    )


def source_days(span: Period, now: datetime) -> list[date]:
    """The UTC days that the span overlaps and that have begun."""
    last = min(now.date(), (span.until - timedelta(microseconds=1)).date())
    return [span.since.date() + timedelta(days=number) for number in range((last - span.since.date()).days + 1)]


def _fits(day: AccountDay, period: Period) -> bool:
    return period.since <= day.bounds.starts_at and day.bounds.ends_at <= period.until


def _gaps(number: int, period: Period, days: Sequence[AccountDay]) -> Iterator[Interval]:
    ends = [period.since, *(day.bounds.ends_at for day in days)]
    starts = [*(day.bounds.starts_at for day in days), period.until]
    for end, start in zip(ends, starts, strict=True):
        if end < start:
            yield Interval(end, start, number)
