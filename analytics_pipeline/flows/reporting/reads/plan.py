"""Where each part of a report is read: whole local days whose rollup holds in the rollups, all else in the events."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone, tzinfo

from analytics_pipeline.flows.days import next_day
from analytics_pipeline.flows.reporting.accounts import Account, Unzoned
from analytics_pipeline.flows.reporting.ledger import AccountDay, account_days
from analytics_pipeline.flows.reporting.reads.periods import Period
from analytics_pipeline.flows.reporting.zones import canonical, zone


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

    @property
    def raw_days(self) -> list[date]:
        """The UTC days that the raw intervals overlap, sorted."""
        return sorted({day for interval in self.raw for day in _utc_days(interval)})


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


def read_plan(periods: Sequence[Period], held: Sequence[AccountDay]) -> ReadPlan:
    """How to read contiguous periods when the rollups of `held`, in order, hold."""
    starts = [period.since for period in periods]
    by_period: dict[int, list[AccountDay]] = defaultdict(list)
    for day in held:
        number = bisect_right(starts, day.bounds.starts_at) - 1
        if _fits(day, periods[number]):
            by_period[number].append(day)
    return ReadPlan(
        {day.date: key for key, days in by_period.items() for day in days},
        [gap for key, period in enumerate(periods) for gap in _gaps(key, period, by_period.get(key, []))],
    )


def _utc_days(interval: Interval) -> Iterator[date]:
    first, last = interval.since.date(), (interval.until - timedelta(microseconds=1)).date()
    for number in range((last - first).days + 1):
        yield first + timedelta(days=number)


def _fits(day: AccountDay, period: Period) -> bool:
    return period.since <= day.bounds.starts_at and day.bounds.ends_at <= period.until


def _gaps(number: int, period: Period, days: Sequence[AccountDay]) -> Iterator[Interval]:
    ends = [period.since, *(day.bounds.ends_at for day in days)]
    starts = [*(day.bounds.starts_at for day in days), period.until]
    for end, start in zip(ends, starts, strict=True):
        if end < start:
            yield Interval(end, start, number)
