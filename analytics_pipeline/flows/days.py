"""Days of UTC and dates of any zone: where they begin, what follows, and ranges of them."""

from collections.abc import Sequence
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
        """What of them lies from `first` to `last`, None for an open end; None when nothing does."""
        start, end = max(self.first, first or self.first), min(self.last, last or self.last)
        return Days(start, end) if start <= end else None


def day_start(day: date) -> datetime:
    """The first moment of a UTC day."""
    return datetime.combine(day, time(), timezone.utc)


def next_day(day: date) -> date:
    return day + timedelta(days=1)


def contiguous(days: Sequence[date]) -> list[tuple[date, date]]:
    """The days as ranges of neighbours, both ends inclusive, in order."""
    ranges: list[tuple[date, date]] = []
    for day in sorted(set(days)):
        if ranges and next_day(ranges[-1][1]) == day:
            ranges[-1] = (ranges[-1][0], day)
        else:
            ranges.append((day, day))
    return ranges
