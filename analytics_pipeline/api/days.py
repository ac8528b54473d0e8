"""Ranges of days in questions."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Annotated

from fastapi import Depends, Query

from analytics_pipeline.api.problems import INVALID, Problem

MOST_DAYS = 3_660
_EARLIEST, _LATEST = date(1990, 1, 1), date(2100, 1, 1)
_DEFAULT = timedelta(days=29)


@dataclass(frozen=True)
class DayRange:
    """UTC days, both ends inclusive."""

    first: date
    last: date


async def _days(
    first: Annotated[
        date | None, Query(alias="from", description="First day; 30 days without it.", examples=["2026-11-01"])
    ] = None,
    last: Annotated[
        date | None, Query(alias="to", description="Last day, inclusive; today without it.", examples=["2026-11-27"])
    ] = None,
) -> DayRange:
    end = last or datetime.now(timezone.utc).date()
    if not _EARLIEST <= end <= _LATEST or (first and not _EARLIEST <= first <= _LATEST):
        raise Problem(INVALID, "from and to: they must lie in the years 1990 to 2099")
    begin = first or end - _DEFAULT
    if begin > end:
        raise Problem(INVALID, "from: it must not be after `to`")
    if (end - begin).days >= MOST_DAYS:
        raise Problem(INVALID, f"from: a range has at most {MOST_DAYS} days")
    return DayRange(begin, end)


Days = Annotated[DayRange, Depends(_days)]
