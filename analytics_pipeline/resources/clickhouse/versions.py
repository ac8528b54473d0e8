"""Versions of rows: moments in milliseconds, of which the later one wins."""

from datetime import datetime, timedelta, timezone

_STEP = timedelta(milliseconds=1)


def later_than(*held: datetime, moment: datetime | None = None) -> datetime:
    """The moment (now, unless one is given) in whole milliseconds of UTC, but always later than every version held.

    The clocks of two machines may disagree, and what is loaded last has to win. All moments are aware.
    """
    wanted = (moment or datetime.now(timezone.utc)).astimezone(timezone.utc)
    wanted = wanted.replace(microsecond=wanted.microsecond // 1000 * 1000)
    return max([wanted, *(version + _STEP for version in held)])
