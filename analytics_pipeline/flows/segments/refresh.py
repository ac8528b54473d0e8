"""A project's segment counts of one day: history in ClickHouse, current counts in Postgres."""

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from analytics_pipeline.flows.erasure.forgotten import forgotten
from analytics_pipeline.flows.segments.counting import SegmentCount, count_segments
from analytics_pipeline.flows.segments.current import store_current
from analytics_pipeline.flows.segments.errors import SnapshotBusy
from analytics_pipeline.flows.segments.ledger import RefreshLedger, StoredCounts
from analytics_pipeline.flows.segments.snapshot import Snapshot, snapshot_of, why_lost
from analytics_pipeline.flows.segments.source import Segment, live_segments
from analytics_pipeline.flows.tenants import FEATURE_OFF, Environment, Project, Tenants
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.limits import one_of
from analytics_pipeline.resources.clickhouse.slices import Slice, replace_slice
from analytics_pipeline.resources.deadline import Deadline
from analytics_pipeline.resources.postgres import LeaseHeld, Postgres

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


_STORED = """
    SELECT segment_id, environment_id, count, status, reason FROM segment_counts FINAL
    WHERE project_id = {project:UInt64} AND date = {day:Date}
    ORDER BY segment_id, environment_id
"""
_NUMBERED = """
    SELECT DISTINCT environment_id FROM segment_counts FINAL
    WHERE project_id = {project:UInt64} AND date = {day:Date} AND count IS NOT NULL
"""
_OF_THE_DAY = "project_id = {project:UInt64} AND date = {day:Date}"


@dataclass(frozen=True)
class ProjectCounts:
    """Counts that one refresh stored for a project; the environments that ClickHouse has lost kept what they had."""

    project: Project
    counts: list[SegmentCount]
    lost: tuple[Environment, ...]


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

    def _snapshot(self, clickhouse: ClickHouse, project: Project) -> Snapshot:
        return snapshot_of(clickhouse, self.postgres, project, self.day)

    def stored(self, project: Project) -> ProjectCounts:
        """The project's counts of the day as they are stored."""
        environments = {environment.id: environment for environment in project.environments}
        rows = self.clickhouse.query(_STORED, project=project.id, day=self.day)
        counts = [SegmentCount(one, environments[id_], *answer) for one, id_, *answer in rows if id_ in environments]
        return ProjectCounts(project, counts, self._snapshot(self.clickhouse, project).lost)

    def refresh(self, project: Project) -> ProjectCounts:
        """Count the project's live segments and replace its stored counts of the day.

        An environment whose snapshot ClickHouse has lost keeps its counts of before.

        Raises:
            LeaseHeld: another run is counting the project.
            SnapshotBusy: the snapshot is being loaded at this moment; the stored counts stay.
            TimeLimitReached: counting was stopped; the stored counts stay.
        """
        with self.postgres.lease(f"segment_counts:{project.id}:{self.day}"):
            return self._refresh(project)

    def _refresh(self, project: Project) -> ProjectCounts:
        tagged = self.clickhouse.tagged("count", organisation_id=project.organisation_id, project_id=project.id)
        clickhouse = tagged.limited(Deadline.after(SECONDS_PER_PROJECT, self._time_is_over(project)))
        if forgotten(self.postgres).has_project(project.id, project.organisation_id):
            return ProjectCounts(project, [], ())
        fingerprint = self.ledger.start(project)
        segments = live_segments(self.postgres, project.id)
        snapshot = self._snapshot(clickhouse, project)
        counts = _counted(clickhouse, self.day, segments, snapshot)
        if self._snapshot(clickhouse, project) != snapshot:
            raise SnapshotBusy(f"the snapshot of {self.day} changed while it was counted; the stored counts stay")
        unknown = list(self._unknown(segments, snapshot))
        rows, computed_at = self._store_history(clickhouse, project, segments, counts, unknown)
        with self.postgres.ledgers.connect() as connection:
            store_current(connection, project, [*counts, *unknown], self.day, computed_at)
            if snapshot.lost and not snapshot.ready:
                self.ledger.fail(connection, project, why_lost(self.day))
            else:
                self.ledger.complete(connection, project, fingerprint, StoredCounts(rows, computed_at))
        logger.info("project %s: %s counts stored", project.id, rows)
        return ProjectCounts(project, [*counts, *unknown], snapshot.lost)

    def _time_is_over(self, project: Project) -> str:
        return (
            f"counting was stopped after the {SECONDS_PER_PROJECT:g} s that a project has; its stored counts stay."
            f" Look at what its statements cost (log_comment …:project_{project.id}:…) and at its segments with status"
            f" fallback, then materialise segment_counts of {self.day} again"
        )

    def _unknown(self, segments: Sequence[Segment], snapshot: Snapshot) -> Iterator[SegmentCount]:
        reasons = dict.fromkeys(snapshot.lost, why_lost(self.day))
        reasons |= dict.fromkeys(snapshot.absent, f"the environment has no snapshot of {self.day}")
        for segment in segments:
            for environment, reason in reasons.items():
                yield SegmentCount(segment.id, environment, None, "failed", reason)

    def _store_history(
        self,
        clickhouse: ClickHouse,
        project: Project,
        segments: Sequence[Segment],
        counts: Sequence[SegmentCount],
        unknown: Sequence[SegmentCount],
    ) -> tuple[int, datetime]:
        """Replace the history; returns how many rows were stored, and their version.

        What was counted while the snapshot was there is no less true now that it is not, and stays.
        """
        place = {"project": project.id, "day": self.day}
        cannot = {count.environment.id for count in unknown}
        numbered = {id_ for (id_,) in clickhouse.query(_NUMBERED, **place)} if cannot else set()
        kept = numbered.intersection(cannot)
        answers = [*counts, *(count for count in unknown if count.environment.id not in kept)]
        narrowed = kept if self.is_open else {count.environment.id for count in answers}
        in_segments, some_segments = one_of("segment_id", "UInt64", [segment.id for segment in segments])
        in_environments, some_environments = one_of("environment_id", "UInt64", sorted(narrowed))
        pairs = f"{'NOT ' if self.is_open else ''}({in_segments} AND {in_environments})"
        target = _slice(f"{_OF_THE_DAY} AND {pairs}", **place, **some_segments, **some_environments)
        computed_at = target.next_version(clickhouse)
        rows = [_row(self.day, count, computed_at) for count in answers]
        with replace_slice(clickhouse, target, computed_at) as staging:
            clickhouse.insert_rows(staging, _COLUMNS, rows)
        return len(rows), computed_at

    def remove_gone(self, tenants: Tenants, among: Collection[int] | None = None) -> list[int]:
        """Remove the day's counts of projects that have no live segment, or that the source no longer has.

        Those of organisations that switched the feature off stay: nothing has gone from the source. `among` narrows to
        these projects. Returns their ids, without those that another run is counting.
        """
        rows = self.clickhouse.query(
            "SELECT DISTINCT project_id FROM segment_counts FINAL WHERE date = {day:Date}", day=self.day
        )
        off = {skipped.project_id for skipped in tenants.skipped if skipped.reason == FEATURE_OFF}
        there = off | {project.id for project in tenants.projects}
        gone = [id_ for (id_,) in sorted(rows) if id_ not in there and (among is None or id_ in among)]
        return [id_ for id_ in gone if self._remove(id_)]

    def _remove(self, project_id: int) -> bool:
        try:
            with self.postgres.lease(f"segment_counts:{project_id}:{self.day}"):
                self.ledger.forget(project_id)
                target = _slice(_OF_THE_DAY, project=project_id, day=self.day)
                with replace_slice(self.clickhouse, target, target.next_version(self.clickhouse)):
                    logger.info("project %s: its counts of %s are removed", project_id, self.day)
        except LeaseHeld:
            return False
        return True


def _counted(clickhouse: ClickHouse, day: date, segments: Sequence[Segment], snapshot: Snapshot) -> list[SegmentCount]:
    """The counts in the environments that are ready. Where there is nobody, nobody is in any segment, broken or not."""
    empty = snapshot.empty
    inhabited = [environment for environment in snapshot.ready if environment not in empty]
    counts = count_segments(clickhouse, day, [segment for segment in segments if not segment.defect], inhabited)
    counts += [
        SegmentCount(segment.id, environment, None, "failed", segment.defect)
        for segment in segments
        for environment in inhabited
        if segment.defect
    ]
    return counts + [SegmentCount(segment.id, one, 0, "counted") for segment in segments for one in empty]


def _slice(predicate: str, **parameters: Any) -> Slice:
    key = ("project_id", "segment_id", "environment_id", "date")
    return Slice("segment_counts", key, "computed_at", predicate, parameters)


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
