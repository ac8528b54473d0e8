"""Sizes of segments: the current ones, and day by day."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal, TypeAlias

from openfeature.client import OpenFeatureClient

from analytics_pipeline.flows.days import contiguous
from analytics_pipeline.flows.tenants import SEGMENT_MEMBERSHIP_FLAG, Environment, Project
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.feature_flags import is_enabled
from analytics_pipeline.resources.postgres import Postgres

# As the ledger has them; unknown: there is no count.
Status: TypeAlias = Literal["counted", "fallback", "failed", "unknown"]

_NEVER = "it was not counted yet; the next run of segment_counts does"
_NOT_THEN = "it was not counted on this day"


@dataclass(frozen=True)
class Membership:
    """A segment's current size in an environment; None is unknown, and `reason` says why.

    A count that failed keeps the last one that did not, with when that was (UTC).
    """

    environment: int
    environment_name: str
    count: int | None
    status: Status
    reason: str
    last_synced_at: datetime | None


@dataclass(frozen=True)
class SegmentSizes:
    """A live segment and its sizes by environment; none where the organisation has the feature off."""

    segment: int
    name: str
    memberships: tuple[Membership, ...]


@dataclass(frozen=True)
class DayCount:
    """A segment's size on a day in an environment; None is unknown, and `reason` says why."""

    date: date
    environment: int
    count: int | None
    status: Status
    reason: str
    computed_at: datetime | None


def is_on(flags: OpenFeatureClient, organisation_id: int) -> bool:
    """Whether the organisation has the feature on.

    Raises:
        FlagsUnavailable: nobody can say.
    """
    return is_enabled(flags, SEGMENT_MEMBERSHIP_FLAG, organisation=organisation_id)


def sizes(postgres: Postgres, flags: OpenFeatureClient, project: Project, after: int, limit: int) -> list[SegmentSizes]:
    """The project's live segments with ids after this one, by id, at most `limit`."""
    live = postgres.query(_LIVE, project=project.id, after=after, limit=limit)
    environments = project.environments if is_on(flags, project.organisation_id) else ()
    rows = postgres.query(_CURRENT, project=project.id, segments=[segment for segment, _ in live])
    found = {(segment, environment): values for segment, environment, *values in rows}
    return [
        SegmentSizes(segment, name, tuple(_membership(one, found.get((segment, one.id))) for one in environments))
        for segment, name in live
    ]


def _membership(environment: Environment, values: list[Any] | None) -> Membership:
    known = values or (None, "unknown", _NEVER, None)
    return Membership(environment.id, environment.name, *known)


def name_of(postgres: Postgres, project_id: int, segment_id: int) -> str | None:
    """The name of the project's live segment; None: it has none with this id."""
    found: dict[int, str] = dict(postgres.query(_LIVE, project=project_id, after=segment_id - 1, limit=1))
    return found.get(segment_id)


def history(
    clickhouse: ClickHouse, project: Project, segment_id: int, cells: Sequence[tuple[date, Environment]]
) -> list[DayCount]:
    """The segment's size of each of these days and environments, in their order."""
    if not cells:
        return []
    days = [day for day, _ in cells]
    rows = clickhouse.tagged("read", organisation_id=project.organisation_id, project_id=project.id).query(
        _HISTORY, project=project.id, segment=segment_id, first=min(days), last=max(days)
    )
    found = {(day, environment): values for day, environment, *values in rows}
    missing = (None, "unknown", _NOT_THEN, None)
    return [DayCount(day, one.id, *found.get((day, one.id), missing)) for day, one in cells]


def days_of(first: date, last: date, environments: Sequence[Environment]) -> list[tuple[date, Environment]]:
    """Each day of the range, both ends inclusive, with each environment, in order."""
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    return [(day, one) for day in days for one in environments]


@dataclass(frozen=True)
class Mover:
    """A segment whose size over all environments changed, and by how much; None is unknown."""

    segment: int
    name: str
    before: int | None
    now: int | None


def biggest_movers(
    clickhouse: ClickHouse, postgres: Postgres, project: Project, first: date, last: date, limit: int
) -> list[Mover]:
    """The live segments of the project by how much they changed between the two days, the most first."""
    rows = clickhouse.tagged("read", organisation_id=project.organisation_id, project_id=project.id).query(
        _HISTORY_OF_ALL, project=project.id, days=[first, last]
    )
    totals: dict[int, dict[date, int | None]] = defaultdict(dict)
    for segment, day, total in rows:
        totals[segment][day] = total
    names: dict[int, str] = dict(postgres.query(_LIVE, project=project.id, after=-1, limit=100_000))
    movers = [
        Mover(segment, name, totals[segment].get(first), totals[segment].get(last)) for segment, name in names.items()
    ]
    return sorted(movers, key=lambda one: (-_change(one), one.segment))[:limit]


def unknown_days(rows: Sequence[DayCount]) -> list[tuple[date, date]]:
    """The days of which a size is unknown, as ranges with both ends inclusive."""
    return contiguous([row.date for row in rows if row.count is None])


def unknown_ends(movers: Sequence[Mover], first: date, last: date) -> list[tuple[date, date]]:
    """Those of the two days that were compared on which a segment's size is unknown."""
    ends = ((first, [one.before for one in movers]), (last, [one.now for one in movers]))
    return contiguous([day for day, sizes_then in ends if None in sizes_then])


def _change(mover: Mover) -> int:
    return -1 if mover.before is None or mover.now is None else abs(mover.now - mover.before)


_LIVE = """
    SELECT id, name FROM {segments}
    WHERE project_id = %(project)s AND deleted_at IS NULL AND id > %(after)s ORDER BY id LIMIT %(limit)s
"""

_CURRENT = """
    SELECT segment_id, environment_id, count, status, reason, last_synced_at
    FROM analytics_pipeline.segment_membership_counts
    WHERE project_id = %(project)s AND segment_id = ANY(%(segments)s)
"""

_HISTORY = """
    SELECT date, environment_id, count, status, reason, computed_at FROM segment_counts FINAL
    WHERE project_id = {project:UInt64} AND segment_id = {segment:UInt64} AND date BETWEEN {first:Date} AND {last:Date}
    SETTINGS do_not_merge_across_partitions_select_final = 1
"""

_HISTORY_OF_ALL = """
    SELECT segment_id, date, if(countIf(count IS NULL) > 0, NULL, sum(count)) FROM segment_counts FINAL
    WHERE project_id = {project:UInt64} AND date IN {days:Array(Date)}
    GROUP BY segment_id, date
    SETTINGS do_not_merge_across_partitions_select_final = 1
"""
