"""The days of a stream's rows, counted as they pass by: the same as `source_days` finds, without a second scan."""

from datetime import date, datetime, timedelta, timezone

import numpy as np

from analytics_pipeline.flows.daily_copy.ledger import CHANGES_MODULUS, SourceDay
from analytics_pipeline.resources.arrow import Moments


class Tally:
    """How many rows each of the days from `first` to `last` has, both inclusive, and when they changed."""

    def __init__(self, first: date, last: date) -> None:
        length = (last - first).days + 1
        self._first = first
        self._rows = np.zeros(length, np.int64)
        # NaT, before every moment.
        self._newest = np.full(length, np.iinfo(np.int64).min)
        # A day's sum may need more than 64 bits.
        self._upper = np.zeros(length, np.int64)
        self._lower = np.zeros(length, np.int64)

    @property
    def rows(self) -> int:
        """All of them."""
        return int(self._rows.sum())

    def add(self, moments: Moments, changes: Moments) -> None:
        """Rows by the moment that each belongs to, and that of its change (NaT: unknown)."""
        days = (moments.astype("datetime64[D]") - np.datetime64(self._first, "D")).astype(np.intp)
        self._rows += np.bincount(days, minlength=len(self._rows))
        np.maximum.at(self._newest, days, changes.view(np.int64))
        known = ~np.isnat(changes)
        # In the same steps as Postgres, so that both round alike.
        milliseconds = np.rint(changes[known].view(np.int64) / 1e6 * 1000).astype(np.int64)
        np.add.at(self._upper, days[known], milliseconds >> 32)
        np.add.at(self._lower, days[known], milliseconds & 0xFFFF_FFFF)

    def days(self) -> list[SourceDay]:
        """Each day that has rows, in order."""
        newest: list[datetime | None] = self._newest.view("datetime64[us]").tolist()
        return [
            SourceDay(
                self._first + timedelta(days=number),
                rows,
                None if (moment := newest[number]) is None else moment.replace(tzinfo=timezone.utc),
                _remainder((int(self._upper[number]) << 32) + int(self._lower[number])),
            )
            for number, rows in enumerate(self._rows.tolist())
            if rows
        ]


def _remainder(total: int) -> int:
    """With the sign of the total, as in SQL."""
    return total % CHANGES_MODULUS if total >= 0 else -(-total % CHANGES_MODULUS)
