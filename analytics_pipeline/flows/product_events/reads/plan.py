"""Days of a question that come from the figures, events that are added to them, and days that nobody knows."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Literal, TypeAlias

from analytics_pipeline.flows.days import contiguous
from analytics_pipeline.flows.product_events.ledger import UNKNOWN, Recorded
from analytics_pipeline.flows.product_events.source import ALWAYS, has_expired

Source: TypeAlias = Literal["aggregates", "events", "mixed"]


@dataclass(frozen=True)
class Coverage:
    """How far an answer can be trusted.

    `source`: where it was read. `missing` are ranges, both ends inclusive, of UTC days whose figures were never
    computed or are lost and whose events have gone: the answer lacks them, and `reason` says so. Days before the first
    event that was ever received lack nothing. `as_of` is the moment (UTC) up to which acknowledged events are counted.
    """

    source: Source
    missing: tuple[tuple[date, date], ...]
    as_of: datetime

    @classmethod
    def of_all(cls, coverages: Sequence["Coverage"]) -> "Coverage":
        """That of an answer which is made of several."""
        sources = {one.source for one in coverages}
        days = [
            first + timedelta(days=number)
            for one in coverages
            for first, last in one.missing
            for number in range((last - first).days + 1)
        ]
        source = sources.pop() if len(sources) == 1 else "mixed"
        return cls(source, tuple(contiguous(days)), min(one.as_of for one in coverages))

    @property
    def reason(self) -> str | None:
        if not self.missing:
            return None
        ranges = ", ".join(f"{first} to {last}" for first, last in self.missing)
        return f"there are neither figures nor all events of {ranges}: they were never computed, or are lost"

    def knows(self, day: date) -> bool:
        return not any(first <= day <= last for first, last in self.missing)


@dataclass(frozen=True)
class Plan:
    """`figures` are days whose figures are read, with the version that they must have (None: whatever is there).

    `events` are days whose events are read, from which moment of their arrival on: of a day with figures, those that
    have come since. `missing` are days that nobody knows.
    """

    figures: Mapping[date, int | None]
    events: Mapping[date, datetime]
    missing: Sequence[date]

    @property
    def is_vouched_for(self) -> bool:
        """Whether figures are read that must have the version that the ledger knows."""
        return any(version is not None for version in self.figures.values())

    def changed(self, versions: Mapping[date, int]) -> set[date]:
        """The days whose figures are not the ones that were vouched for: swapped meanwhile, or lost."""
        return {day for day, version in self.figures.items() if version not in (None, versions.get(day, 0))}

    def coverage(self, as_of: datetime) -> Coverage:
        source: Source = "mixed" if self.is_vouched_for and self.events else "events" if self.events else "aggregates"
        return Coverage(source, tuple(contiguous(self.missing)), as_of)


@dataclass(frozen=True)
class Known:
    """Days as the ledger and the store know them: the events that figures are of, and how many rows there are."""

    recorded: Mapping[date, Recorded]
    rows: Mapping[date, int]
    first_day: date | None
    today: date
    retention_days: int

    def plan(self, days: Sequence[date]) -> Plan:
        """How these days are read."""
        figures: dict[date, int | None] = {}
        events: dict[date, datetime] = {}
        missing: list[date] = []
        for day in days:
            known, rows = self.recorded.get(day), self.rows.get(day, 0)
            if known is not None and known.holds and known.version != UNKNOWN:
                figures[day] = known.version
                # Events of a day that is all past its time go at any moment: the figures are what is known of it.
                if rows > known.events and not self._is_expiring(day + timedelta(days=1)):
                    events[day] = known.settled_until
            elif rows and (known is None or rows >= known.events) and not self._is_expiring(day):
                events[day] = ALWAYS
            else:
                figures[day] = None
                if self._is_unknown(day, known):
                    missing.append(day)
        return Plan(figures, events, missing)

    def without(self, days: Collection[date]) -> "Known":
        """The same when nobody vouches for the figures of these days."""
        lost = {day: replace(self.recorded[day], version=None) for day in days}
        return replace(self, recorded={**self.recorded, **lost})

    def _is_expiring(self, day: date) -> bool:
        return has_expired(day, self.today, self.retention_days)

    def _is_unknown(self, day: date, known: Recorded | None) -> bool:
        """Whether there was something that is not there any more; of no event at all there is nothing to know."""
        if known is not None:
            # While it is swapped its figures are there, or are about to be.
            return known.events > 0 and known.version != UNKNOWN
        return self._is_expiring(day) and self._began is not None and self._began <= day

    @cached_property
    def _began(self) -> date | None:
        """The first day that anything is known of."""
        return min((day for day in (self.first_day, *self.rows) if day), default=None)
