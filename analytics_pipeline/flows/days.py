"""Days of UTC and dates of any zone: where they begin, what follows, and ranges of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone


@dataclass(frozen=True)
class Days:
    """Dates from `first` to `last`, both inclusive."""

    first: date
    last: date

    def __len__(self) -> int:
        return (self.last - self.first).days + 1

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last

    def within(self, first: date | None, last: date | None) -> "Days | None":
        """The part of them from `first` to `last`, None for an open end; None when nothing lies there."""
        start, end = max(self.first, first or self.first), min(self.last, last or self.last)
        return Days(start, end) if start <= end else None


def day_start(day: date) -> datetime:
    """The first moment of a UTC day."""
    return datetime.combine(day, time(), timezone.utc)


def next_day(day: date) -> date:
    return day + timedelta(days=1)


def last_of_month(day: date) -> date:
    """The last day of the day's month."""
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)


def by_month(first: date, last: date) -> Iterator[list[date]]:
    """The days from `first` to `last`, both inclusive, in order, those of each month together."""
    while first <= last:
        end = min(last, last_of_month(first))
        yield [first + timedelta(days=number) for number in range((end - first).days + 1)]
        first = next_day(end)


def contiguous(days: Sequence[date]) -> list[tuple[date, date]]:
    """The days as ranges of neighbours, both ends inclusive, in order."""
    ranges: list[tuple[date, date]] = []
    for day in sorted(set(days)):
        if ranges and next_day(ranges[-1][1]) == day:
            ranges[-1] = (ranges[-1][0], day)
        else:
            ranges.append((day, day))
    return ranges
