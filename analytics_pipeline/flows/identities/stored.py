"""Snapshots of days in ClickHouse. The ledger says what was loaded; these functions ask whether it is there."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timezone
from typing import Any

from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.limits import one_of

_NO_VERSION = datetime.min.replace(tzinfo=timezone.utc)


@dataclass(frozen=True)
class Stored:
    """One environment's day in ClickHouse: live rows, and the newest version (tombstones included)."""

    rows: int = 0
    version: datetime = _NO_VERSION

    def is_load(self, captured_at: datetime, rows: int) -> bool:
        """Whether it is just what the load of this capture left."""
        return self.rows == rows and self.has_load(captured_at, rows)

    def has_load(self, captured_at: datetime, rows: int) -> bool:
        """Whether the rows of this load are there, and of no later one."""
        # An environment that stayed empty has no row that could carry the version.
        return self.rows >= rows and (self.version == captured_at or rows == 0)


NOTHING = Stored()


def stored_environments(
    clickhouse: ClickHouse, day: date, environment_keys: Sequence[str] | None = None
) -> dict[str, Stored]:
    """Holdings of each environment of the day, or of these, by key, as a reader of the table sees them."""
    wanted, parameters = "snapshot_date = {day:Date}", dict[str, Any]()
    if environment_keys is not None:
        named, parameters = one_of("environment_id", "String", environment_keys)
        wanted += f" AND {named}"
    rows = clickhouse.query(
        # Live rows are counted; the version is also that of tombstones, which FINAL hides.
        "SELECT environment_id, sum(live), max(version) FROM ("
        " SELECT environment_id, count() AS live, max(inserted_at) AS version FROM identities FINAL"
        f" WHERE {wanted} GROUP BY environment_id"
        f" UNION ALL SELECT environment_id, 0, max(inserted_at) FROM identities WHERE {wanted} GROUP BY environment_id"
        ") GROUP BY environment_id",
        day=day,
        **parameters,
    )
    return {key: Stored(count, version) for key, count, version in rows}


def glimpsed_environments(clickhouse: ClickHouse, days: Collection[date]) -> dict[tuple[date, str], Stored]:
    """Holdings of each environment of several days, by day and key; cheap enough for a tick.

    Without `FINAL`: a load gives all live rows of an environment its own version, so those of the newest one are
    counted. Rows that were attached twice and are not merged yet count twice.
    """
    rows = clickhouse.query(
        "SELECT snapshot_date, environment_id, argMax(live, inserted_at), max(inserted_at) FROM ("
        " SELECT snapshot_date, environment_id, inserted_at, countIf(is_deleted = 0) AS live FROM identities"
        " WHERE snapshot_date IN {days:Array(Date)} GROUP BY snapshot_date, environment_id, inserted_at"
        ") GROUP BY snapshot_date, environment_id",
        days=sorted(set(days)),
    )
    return {(day, key): Stored(count, version) for day, key, count, version in rows}
