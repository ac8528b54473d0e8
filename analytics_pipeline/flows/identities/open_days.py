"""Days that can be captured: the identity store holds only the present, so a day closes soon after its end."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta, timezone

from analytics_pipeline.config import Settings
from analytics_pipeline.flows.days import day_start, next_day
from analytics_pipeline.flows.identities.errors import DayHasClosed


def is_open(day: date, settings: Settings, now: datetime | None = None) -> bool:
    """Whether the UTC day may be captured now, or at the aware moment `now`.

    While it may, rows that have gone from the source go from the day as well.
    """
    grace = timedelta(hours=settings.identity_capture_grace_hours)
    try:
        refuse_closed_day(day, now or datetime.now(timezone.utc), grace)
    except DayHasClosed:
        return False
    return True


def refuse_closed_day(day: date, now: datetime, grace: timedelta) -> None:
    """Check that `now` (aware) still stands for `day`: from its begin until `grace` after its end, in UTC.

    Raises:
        DayHasClosed: with what can be done instead.
    """
    begin = day_start(day)
    closes = day_start(next_day(day)) + grace
    if now < begin:
        raise DayHasClosed(f"{day} has not begun; identities can be captured from {begin:%Y-%m-%d %H:%M} UTC.")
    if now >= closes:
        raise DayHasClosed(
            f"{day} closed for capture at {closes:%Y-%m-%d %H:%M} UTC: the identity store holds only the present."
            " Nothing was changed. A day that was captured can be rebuilt: materialise identity_snapshots alone."
        )


def refuse_closed_days(days: Sequence[date], now: datetime, grace: timedelta) -> None:
    """Check a range before any of it is captured: what follows a capture runs only when all its days were captured.

    Raises:
        DayHasClosed: one of the days cannot be captured.
    """
    for day in days:
        try:
            refuse_closed_day(day, now, grace)
        except DayHasClosed as error:
            if len(days) == 1:
                raise
            raise DayHasClosed(
                f"{error} No day of the range was captured: ask for the days that are still open alone."
            ) from error
