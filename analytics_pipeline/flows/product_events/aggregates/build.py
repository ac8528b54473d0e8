"""Events → one aggregate: days counted anew from de-duplicated events and replaced as a whole, never added to.

Figures are of the events that were received up to a moment which lies a minute back, so that all of those are there.
Readers add what was received later. A day of which the store holds fewer events than its figures are of stays as it is:
its events have expired or were lost, and its figures are all that is left of them.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from analytics_pipeline.flows.days import by_month, contiguous
from analytics_pipeline.flows.guards import require_room
from analytics_pipeline.flows.held_days import swap_days
from analytics_pipeline.flows.product_events.aggregates.tables import Aggregate
from analytics_pipeline.flows.product_events.errors import EventsVanished
from analytics_pipeline.flows.product_events.ledger import Recorded, record, recorded
from analytics_pipeline.flows.product_events.source import (
    SETTINGS,
    SeenDay,
    events_until,
    has_expired,
    rows_by_day,
    seen_days,
)
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.errors import is_transient, retrying
from analytics_pipeline.resources.clickhouse.names import quoted
from analytics_pipeline.resources.postgres import Postgres

logger = logging.getLogger(__name__)

# Longer than any event takes from its arrival to the store, and than clocks of servers differ.
SETTLE = timedelta(minutes=1)
_PATIENCE = timedelta(minutes=10)


@dataclass(frozen=True)
class BuiltDay:
    """A day of the aggregate: its rows, the events that they are of; `kept`: it was left as it was."""

    rows: int
    events: int
    kept: bool = False


@dataclass(frozen=True)
class Build:
    """Computes days of one aggregate on behalf of one run.

    `retention_days` is how long the store keeps events. With `even_if_fewer` days are computed also of which it holds
    fewer events than before, because these were deleted on purpose.
    """

    aggregate: Aggregate
    clickhouse: ClickHouse
    postgres: Postgres
    run_id: str
    retention_days: int
    even_if_fewer: bool = False

    def build(self, first: date, last: date) -> dict[date, BuiltDay]:
        """Replace the days, both ends inclusive, by what their events are now.

        Raises:
            DiskFull, TooManyParts: a guard stopped it; finished months stay.
            LeaseHeld: another run did not finish its build within ten minutes; finished months stay.
            EventsVanished: events went meanwhile; finished months stay.
        """
        found: dict[date, BuiltDay] = {}
        for days in by_month(first, last):
            require_room(self.clickhouse, self.aggregate.name)
            with self.postgres.lease(self.aggregate.table.lease, patience=_PATIENCE):
                found |= retrying(self.clickhouse.attempts, is_transient)(self._month, days)
        return found

    def _month(self, days: Sequence[date]) -> dict[date, BuiltDay]:
        now = self.clickhouse.scalar("SELECT now64(3, 'UTC')")
        until = now - SETTLE
        known = recorded(self.postgres, self.aggregate.name, days[0], days[-1])
        rows = rows_by_day(self.clickhouse)
        seen = self._seen(days, until, known)
        kept = {day for day in days if self._is_kept(day, now.date(), seen[day], known.get(day))}
        if kept:
            logger.warning("%s: %d days keep their figures, their events have gone", self.aggregate.name, len(kept))
        found = {day: BuiltDay(0, known[day].events if day in known else 0, kept=True) for day in kept}
        for first, last in contiguous([day for day in days if day not in kept]):
            slice_ = [day for day in days if first <= day <= last]
            found |= self._slice(slice_, until, seen, rows)
        return dict(sorted(found.items()))

    def _slice(
        self, days: Sequence[date], until: datetime, seen: Mapping[date, SeenDay], held: Mapping[date, int]
    ) -> dict[date, BuiltDay]:
        """Replace neighbouring days of one month, of which the store `held` so many rows when they were seen."""
        table = self.aggregate.table
        with self.clickhouse.staging(table.name) as staging:
            self._compute(staging, days, until, table.next_version(self.clickhouse, days))
            rows = dict(self.clickhouse.query(f"SELECT date, count() FROM {quoted(staging)} GROUP BY date"))
            self._check_nothing_vanished(days, until, seen, held)
            found = {day: BuiltDay(rows.get(day, 0), seen[day].settled) for day in days}
            with self.postgres.ledgers.connect() as ledger:
                swap_days(self.clickhouse, ledger, table, staging, days)
                values = {day: (seen[day], built.rows) for day, built in found.items()}
                record(ledger, table.name, self.aggregate.definition, values, until, self.run_id)
        return found

    def _compute(self, staging: str, days: Sequence[date], until: datetime, computed_at: datetime) -> None:
        shown, made = self.aggregate.shown, (*self.aggregate.key, *self.aggregate.columns)
        # Once: sent again after a lost answer it would add all rows again. The build is tried anew.
        replace(self.clickhouse, attempts=1).execute(
            f"INSERT INTO {quoted(staging)} ({', '.join((*made, *shown, 'computed_at'))})"
            f" SELECT {', '.join((*made, *shown.values()))}, {{computed_at:DateTime64(3, 'UTC')}}"
            f" FROM ({self.aggregate.select(events_until())}) {SETTINGS}",
            first=days[0],
            last=days[-1],
            until=until,
            computed_at=computed_at,
        )

    def _seen(self, days: Sequence[date], until: datetime, known: Mapping[date, Recorded]) -> dict[date, SeenDay]:
        moments = {day: one.settled_until for day, one in known.items()}
        return seen_days(self.clickhouse, days, until, moments)

    def _check_nothing_vanished(
        self, days: Sequence[date], until: datetime, before: Mapping[date, SeenDay], held: Mapping[date, int]
    ) -> None:
        """Rows only ever go: what is there after they were counted was there while they were."""
        rows = rows_by_day(self.clickhouse)
        suspects = [day for day in days if rows.get(day, 0) < held.get(day, 0)]
        if not suspects:
            return
        # Most often repeats were merged meanwhile.
        after = self._seen(suspects, until, {})
        gone = [day for day in suspects if after[day].settled < before[day].settled]
        if gone:
            raise EventsVanished(
                f"events of {gone[0]} went while {self.aggregate.name} was computed of them; the figures from"
                f" {days[0]} to {days[-1]} stay as they were. The next run computes what is still there to compute"
            )

    def _is_kept(self, day: date, today: date, seen: SeenDay, known: Recorded | None) -> bool:
        if self.even_if_fewer:
            return False
        return has_expired(day, today, self.retention_days) or lacks_events(seen, known)


def lacks_events(seen: SeenDay, known: Recorded | None) -> bool:
    """Whether the store no longer holds all events that the figures are of."""
    return known is not None and seen.known < known.events
