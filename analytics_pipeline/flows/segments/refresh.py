"""A project's segment counts of one day: history in ClickHouse, current counts in Postgres."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from analytics_pipeline.flows.failures import Passing
from analytics_pipeline.flows.segments.counting import SegmentCount, count_segments
from analytics_pipeline.flows.segments.ledger import RefreshLedger
from analytics_pipeline.flows.segments.source import live_segments
from analytics_pipeline.flows.tenants import Environment, Project
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.limits import one_of
from analytics_pipeline.resources.clickhouse.slices import Slice, replace_slice
from analytics_pipeline.resources.deadline import Deadline
from analytics_pipeline.resources.postgres import Connection, Postgres

logger = logging.getLogger(__name__)

# Of one project: with two million identities and fifty segments SQL takes seconds and the engine minutes.
SECONDS_PER_PROJECT = 600.0
_COLUMNS = (
    "date",
    "organisation_id",
    "project_id",
    "segment_id",
    "environment_id",
    "environment_key",
    "count",
    "status",
    "reason",
    "computed_at",
)


_LOADED_ROWS = """
    SELECT environment_key, rows FROM analytics_pipeline.identity_loads
    WHERE snapshot_date = %(day)s AND project_id = %(project)s AND captured_at IS NOT NULL
"""
_STORED = """
    SELECT segment_id, environment_id, count, status, reason FROM segment_counts FINAL
    WHERE project_id = {project:UInt64} AND date = {day:Date}
    ORDER BY segment_id, environment_id
"""


class SnapshotBusy(Passing):
    """A load is changing the rows that were to be counted; this passes."""


class SnapshotGone(Exception):
    """ClickHouse no longer holds rows that the ledger says were loaded."""


@dataclass(frozen=True)
class ProjectCounts:
    """What one refresh stored for a project."""

    project: Project
    counts: list[SegmentCount]


@dataclass(frozen=True)
class CountRefresh:
    """Counts one day's snapshot. Each project is replaced on its own: history first, then the current counts.

    While the day `is_open`, counts of what the source no longer has go. Of a closed day, what was true then stays: only
    the counts of segments and environments that are there to be counted again are replaced.
    """

    clickhouse: ClickHouse
    postgres: Postgres
    ledger: RefreshLedger
    is_open: bool

    @property
    def day(self) -> date:
        return self.ledger.day

    def stored(self, project: Project) -> ProjectCounts:
        """The project's counts of the day as they are stored."""
        environments = {environment.id: environment for environment in project.environments}
        rows = self.clickhouse.query(_STORED, project=project.id, day=self.day)
        counts = [SegmentCount(one, environments[id_], *answer) for one, id_, *answer in rows if id_ in environments]
        return ProjectCounts(project, counts)

    def refresh(self, project: Project) -> ProjectCounts:
        """Count the project's live segments and replace its stored counts of the day.

        Raises:
            LeaseHeld: another run is counting the project.
            SnapshotBusy: the snapshot is being loaded at this moment; the stored counts stay.
            SnapshotGone: ClickHouse no longer holds what was loaded; the stored counts stay.
            TimeLimitReached: counting was stopped; the stored counts stay.
        """
        with self.postgres.lease(f"segment_counts:{project.id}:{self.day}"):
            return self._refresh(project)

    def _refresh(self, project: Project) -> ProjectCounts:
        tagged = self.clickhouse.tagged("count", organisation_id=project.organisation_id, project_id=project.id)
        clickhouse = tagged.limited(Deadline.after(SECONDS_PER_PROJECT, self._time_is_over(project)))
        fingerprint = self.ledger.start(project)
        segments = live_segments(self.postgres, project.id)
        ready = self._loaded_environments(clickhouse, project)
        counts = count_segments(clickhouse, self.day, [item for item in segments if not item.defect], ready)
        counts += [
            SegmentCount(segment.id, environment, None, "failed", segment.defect)
            for segment in segments
            for environment in ready
            if segment.defect
        ]
        counts += [
            SegmentCount(segment.id, environment, None, "failed", f"the environment has no snapshot of {self.day}")
            for segment in segments
            for environment in project.environments
            if environment not in ready
        ]
        computed_at = self._store_history(clickhouse, project, counts)
        with self.postgres.connect() as connection:
            _store_current(connection, project, counts, self.day, computed_at)
        self.ledger.complete(project, fingerprint)
        logger.info("project %s: %s counts stored", project.id, len(counts))
        return ProjectCounts(project, counts)

    def _time_is_over(self, project: Project) -> str:
        return (
            f"counting was stopped after the {SECONDS_PER_PROJECT:g} s that a project has; its stored counts stay."
            f" Look at what its statements cost (log_comment …:project_{project.id}:…) and at its segments with status"
            f" fallback, then materialise segment_counts of {self.day} again"
        )

    def _loaded_environments(self, clickhouse: ClickHouse, project: Project) -> list[Environment]:
        captured: dict[str, int] = dict(self.postgres.query(_LOADED_ROWS, day=self.day, project=project.id))
        stored: dict[str, int] = dict(
            clickhouse.query(
                "SELECT environment_id, count() FROM identities FINAL"
                " WHERE snapshot_date = {day:Date} AND environment_id IN {environments:Array(String)}"
                " GROUP BY environment_id",
                day=self.day,
                environments=list(captured),
            )
        )
        if gone := [key for key, rows in captured.items() if rows != stored.get(key, 0)]:
            if self.postgres.is_leased(f"identities:{self.day}"):
                raise SnapshotBusy(
                    f"the snapshot of {self.day} is being loaded at this moment; the stored counts stay."
                    f" Materialise segment_counts of {self.day} when the load has ended"
                )
            raise SnapshotGone(
                f"ClickHouse does not hold the loaded snapshot of {len(gone)} environments on {self.day}: it has"
                f" expired or was dropped; the stored counts stay. Materialise identity_snapshots of {self.day} first"
            )
        return [environment for environment in project.environments if environment.key in captured]

    def _store_history(self, clickhouse: ClickHouse, project: Project, counts: Sequence[SegmentCount]) -> datetime:
        in_segments, segments = one_of("segment_id", "UInt64", sorted({count.segment_id for count in counts}))
        in_environments, environments = one_of(
            "environment_id", "UInt64", sorted({count.environment.id for count in counts})
        )
        again = [] if self.is_open else [in_segments, in_environments]
        target = Slice(
            table="segment_counts",
            key=("project_id", "segment_id", "environment_id", "date"),
            version="computed_at",
            predicate=" AND ".join(["project_id = {project:UInt64}", "date = {day:Date}", *again]),
            parameters={"project": project.id, "day": self.day, **segments, **environments},
        )
        computed_at = target.next_version(clickhouse)
        rows = [_row(self.day, count, computed_at) for count in counts]
        with replace_slice(clickhouse, target, computed_at) as staging:
            clickhouse.insert_rows(staging, _COLUMNS, rows)
        return computed_at


def purge_others(postgres: Postgres, keep: Collection[int], among: Collection[int] | None = None) -> int:
    """Remove the current counts of all projects but `keep`: switched off, without segments, or gone from the source.

    `among` narrows to those projects. The ledger forgets the counts with them: when the project is switched on, the
    schedule sees that they are missing and has its newest snapshot counted. Returns how many counts went.
    """
    with postgres.connect() as connection:
        ((purged,),) = connection.execute(
            _PURGE, {"keep": list(keep), "among": None if among is None else list(among)}
        ).fetchall()
    return int(purged)


def _row(day: date, count: SegmentCount, computed_at: datetime) -> list[object]:
    environment = count.environment
    return [
        day,
        environment.organisation_id,
        environment.project_id,
        count.segment_id,
        environment.id,
        environment.key,
        count.count,
        count.status,
        count.reason,
        computed_at,
    ]


def _store_current(
    connection: Connection, project: Project, counts: Sequence[SegmentCount], day: date, computed_at: datetime
) -> None:
    """Make the counts the project's current ones, unless those of a later day are."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"segment_counts:{project.id}"])
    newest = connection.execute(_NEWEST_DAY, [project.id]).fetchone()
    if newest and newest[0] and newest[0] > day:
        logger.info("project %s: current counts are of %s and stay", project.id, newest[0])
        return
    connection.execute(_REMOVE_STALE, [project.id, [c.segment_id for c in counts], [c.environment.id for c in counts]])
    connection.cursor().executemany(
        _UPSERT,
        [
            {
                "segment": count.segment_id,
                "environment": count.environment.id,
                "project": project.id,
                "organisation": project.organisation_id,
                "count": count.count,
                "status": count.status,
                "reason": count.reason,
                "day": day,
                "synced_at": None if count.count is None else computed_at,
            }
            for count in counts
        ],
    )


_PURGE = """
    WITH purged AS (
        DELETE FROM analytics_pipeline.segment_membership_counts
        WHERE NOT project_id = ANY(%(keep)s) AND (%(among)s::bigint[] IS NULL OR project_id = ANY(%(among)s))
        RETURNING project_id, snapshot_date
    ),
    forgotten AS (
        DELETE FROM analytics_pipeline.segment_refreshes
        WHERE (project_id, snapshot_date) IN (SELECT project_id, snapshot_date FROM purged)
    )
    SELECT count(*) FROM purged
"""

_NEWEST_DAY = "SELECT max(snapshot_date) FROM analytics_pipeline.segment_membership_counts WHERE project_id = %s"

_REMOVE_STALE = """
    DELETE FROM analytics_pipeline.segment_membership_counts
    WHERE project_id = %s AND (segment_id, environment_id) NOT IN (SELECT * FROM unnest(%s::bigint[], %s::bigint[]))
"""

_UPSERT = """
    INSERT INTO analytics_pipeline.segment_membership_counts AS current (
        segment_id, environment_id, project_id, organisation_id, count, status, reason, snapshot_date, last_synced_at
    )
    VALUES (
        %(segment)s, %(environment)s, %(project)s, %(organisation)s, %(count)s, %(status)s, %(reason)s, %(day)s,
        %(synced_at)s
    )
    ON CONFLICT (segment_id, environment_id) DO UPDATE SET
        project_id = excluded.project_id,
        organisation_id = excluded.organisation_id,
        count = coalesce(excluded.count, current.count),
        status = excluded.status,
        reason = excluded.reason,
        snapshot_date = excluded.snapshot_date,
        last_synced_at = coalesce(excluded.last_synced_at, current.last_synced_at)
"""
