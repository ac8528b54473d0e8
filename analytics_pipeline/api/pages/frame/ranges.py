"""The range of days that a page is about: chosen in its form, or the last thirty."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Annotated

from fastapi import Depends, Query

from analytics_pipeline.api.problems import INVALID, Problem
from analytics_pipeline.flows.days import next_day

DAYS = 30
_LARGEST = 3_660


@dataclass(frozen=True)
class Range:
    """Days as they were chosen, both inclusive; None: not chosen."""

    first: date | None
    last: date | None

    def days(self, today: date) -> tuple[date, date]:
        """First and last day, both inclusive. What is not chosen ends today, or begins thirty days before the end.

        Raises:
            Problem: the last day comes before the first, or there are more than ten years between them.
        """
        last = self.last or today
        first = self.first or last - timedelta(days=DAYS - 1)
        if not timedelta(0) <= last - first <= timedelta(days=_LARGEST):
            raise Problem(INVALID, "to: it has to be a day after `from`, by at most ten years.")
        return first, last


def moments(first: date, last: date, zone: tzinfo) -> tuple[datetime, datetime]:
    """The days of a zone, half-open: the beginning of the first, and of the day after the last."""
    return datetime.combine(first, time(), zone), datetime.combine(next_day(last), time(), zone)


async def _range(
    first: Annotated[date | None, Query(alias="from", ge=date(1990, 1, 1), le=date(2098, 12, 31))] = None,
    last: Annotated[date | None, Query(alias="to", ge=date(1990, 1, 1), le=date(2098, 12, 31))] = None,
) -> Range:
    return Range(first, last)


Ranged = Annotated[Range, Depends(_range)]
