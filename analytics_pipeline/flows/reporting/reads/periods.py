"""The periods that a report is cut into: hours, days, weeks from Sunday, months and years of a zone."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone, tzinfo
from itertools import pairwise
from typing import Literal, TypeAlias, get_args

from analytics_pipeline.flows.reporting.errors import InvalidRange, UnknownGroupBy
from analytics_pipeline.flows.reporting.reads.query import ReportQuery
from analytics_pipeline.flows.reporting.zones import midnight

GroupBy: TypeAlias = Literal["hour", "day", "week", "month", "year"]
MAX_HOURLY_RANGE = timedelta(days=92)

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True)
class Period:
    """A period that begins at `starts_at`, and the part [since, until) of it that lies in the range; all UTC."""

    starts_at: datetime
    since: datetime
    until: datetime

    @property
    def timestamp(self) -> int:
        """The period's start in seconds of the epoch, even where the range begins later."""
        return int(self.starts_at.timestamp())


def whole(query: ReportQuery) -> Period:
    """The range as a single period."""
    since, until = query.since.astimezone(timezone.utc), query.until.astimezone(timezone.utc)
    return Period(since, since, until)


def previous(period: Period) -> Period:
    """The period of the same elapsed time just before."""
    since = period.since - (period.until - period.since)
    return Period(since, since, period.since)


def periods(group_by: str, tz: tzinfo, query: ReportQuery) -> list[Period]:
    """The periods of the zone that overlap the range, in order and without gaps.

    A day that the zone skipped has no moments and is no period. Hours are counted from the local midnight, so a day of
    23 or 25 hours has as many, and one of 24.5 hours ends with a half.

    Raises:
        UnknownGroupBy: there are no such periods.
        InvalidRange: more than 92 days by the hour.
    """
    if group_by not in get_args(GroupBy):
        raise UnknownGroupBy(f"{group_by[:60]!r} is no period; there are {', '.join(get_args(GroupBy))}")
    if group_by == "hour" and query.until - query.since > MAX_HOURLY_RANGE:
        raise InvalidRange(f"a report by the hour covers at most {MAX_HOURLY_RANGE.days} days")
    span = whole(query)
    days = pairwise(_starts("day" if group_by == "hour" else group_by, tz, span))
    bounds = (hour for day in days for hour in _hours(*day)) if group_by == "hour" else days
    found = [Period(start, max(start, span.since), min(end, span.until)) for start, end in bounds]
    return [period for period in found if period.since < period.until]


def _starts(group_by: str, tz: tzinfo, span: Period) -> Iterator[datetime]:
    """Local midnights from the one at or before the span to the one at or after its end."""
    day = _FIRST[group_by](span.since.astimezone(tz).date())
    yield (start := midnight(day, tz))
    while start < span.until:
        day = _NEXT[group_by](day)
        yield (start := midnight(day, tz))


def _hours(start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    while start < end:
        yield start, min(start + _HOUR, end)
        start += _HOUR


_FIRST: Mapping[str, Callable[[date], date]] = {
    "day": lambda day: day,
    "week": lambda day: day - (day.isoweekday() % 7) * _DAY,
    "month": lambda day: day.replace(day=1),
    "year": lambda day: day.replace(month=1, day=1),
}
_NEXT: Mapping[str, Callable[[date], date]] = {
    "day": lambda day: day + _DAY,
    "week": lambda day: day + 7 * _DAY,
    "month": lambda day: (day + 31 * _DAY).replace(day=1),
    "year": lambda day: day.replace(year=day.year + 1),
}
