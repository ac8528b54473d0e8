"""Counts in ClickHouse. The ledger says what was stored; these functions ask whether it is there."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime

from analytics_pipeline.flows.segments.ledger import StoredCounts
from analytics_pipeline.resources.clickhouse.client import ClickHouse


@dataclass(frozen=True)
class CountsInStore:
    """Live rows of `segment_counts` by version, for each day and project."""

    rows: Mapping[tuple[date, int], Mapping[datetime, int]]

    def has(self, day: date, project_id: int, recorded: StoredCounts) -> bool:
        """Whether the project's counts of the day are there as they were recorded, and none of a later refresh.

        Any will do when nothing was recorded.
        """
        held = self.rows.get((day, project_id), {})
        if recorded.counts is None or recorded.computed_at is None:
            return any(held.values())
        is_newest = max(held, default=recorded.computed_at) <= recorded.computed_at
        return is_newest and held.get(recorded.computed_at, 0) >= recorded.counts


def counts_in_store(clickhouse: ClickHouse, days: Collection[date]) -> CountsInStore:
    """Holdings of these days; cheap enough for a tick.

    Without `FINAL`: the rows of one refresh share its version. Those that were attached twice and are not merged yet
    count twice.
    """
    rows = clickhouse.query(
        "SELECT date, project_id, computed_at, countIf(is_deleted = 0) FROM segment_counts"
        " WHERE date IN {days:Array(Date)} GROUP BY date, project_id, computed_at",
        days=sorted(set(days)),
    )
    found: dict[tuple[date, int], dict[datetime, int]] = {}
    for day, project, computed_at, live in rows:
        found.setdefault((day, project), {})[computed_at] = live
    return CountsInStore(found)
