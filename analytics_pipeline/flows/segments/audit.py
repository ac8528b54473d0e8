"""Questions that stored counts must answer well."""

from dataclasses import dataclass
from datetime import date

from analytics_pipeline.flows.audited import Audited
from analytics_pipeline.flows.segments.ledger import StoredCounts
from analytics_pipeline.flows.segments.stored import counts_in_store
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.postgres import Postgres


@dataclass(frozen=True)
class Impossible:
    """A segment that is said to hold more identities than its environment has."""

    segment_id: int
    environment_id: int
    count: int
    identities: int


def impossible_counts(clickhouse: ClickHouse, day: date) -> Audited[list[Impossible]]:
    """The day's counts that exceed the identities of their environment's snapshot, of all that are known."""
    known = clickhouse.scalar(
        "SELECT count() FROM segment_counts FINAL WHERE date = {day:Date} AND count IS NOT NULL", day=day
    )
    rows = clickhouse.query(
        """
        SELECT counts.segment_id, counts.environment_id, counts.count, identities.total
        FROM segment_counts AS counts FINAL
        LEFT JOIN (
            SELECT environment_id, count() AS total FROM identities FINAL
            WHERE snapshot_date = {day:Date} GROUP BY environment_id
        ) AS identities ON identities.environment_id = counts.environment_key
        WHERE counts.date = {day:Date} AND counts.count > identities.total
        ORDER BY counts.segment_id, counts.environment_id
        """,
        day=day,
    )
    return Audited(known, [Impossible(*row) for row in rows])


def lost_counts(postgres: Postgres, clickhouse: ClickHouse, day: date) -> Audited[list[int]]:
    """The projects whose counts of the day are not in ClickHouse as the ledger says they were stored."""
    in_store = counts_in_store(clickhouse, [day])
    rows = postgres.query(
        "SELECT project_id, counts, computed_at FROM analytics_pipeline.segment_refreshes"
        " WHERE snapshot_date = %(day)s AND status = 'completed' ORDER BY project_id",
        day=day,
    )
    found = [project for project, *stored in rows if not in_store.has(day, project, StoredCounts(*stored))]
    return Audited(len(rows), found)
