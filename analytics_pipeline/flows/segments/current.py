"""Current counts: each segment's newest answer, in Postgres, where the product reads it."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from analytics_pipeline.flows.segments.counting import SegmentCount
from analytics_pipeline.flows.tenants import Project, Tenants
from analytics_pipeline.resources.postgres import Connection, Postgres
from analytics_pipeline.resources.sql_files import sql_file

logger = logging.getLogger(__name__)


def store_current(
    connection: Connection, project: Project, counts: Sequence[SegmentCount], day: date, computed_at: datetime
) -> None:
    """Make the counts the project's current ones, unless those of a later day are."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"segment_counts:{project.id}"])
    newest = connection.execute(_NEWEST_DAY, [project.id]).fetchone()
    if newest and newest[0] and newest[0] > day:
        logger.info("project %s: current counts are of %s and stay", project.id, newest[0])
        return
    connection.execute(_REMOVE_STALE, [project.id, [c.segment_id for c in counts], [c.environment.id for c in counts]])
    connection.execute(
        sql_file(__package__, "record_current.sql"),
        {
            "project": project.id,
            "organisation": project.organisation_id,
            "day": day,
            "computed_at": computed_at,
            "segments": [count.segment_id for count in counts],
            "environments": [count.environment.id for count in counts],
            "counts": [count.count for count in counts],
            "statuses": [count.status for count in counts],
            "reasons": [count.reason for count in counts],
        },
    )


def purge_others(postgres: Postgres, day: date, keep: Collection[int], among: Collection[int] | None = None) -> int:
    """Remove the current counts of all projects but `keep`: switched off, without segments, or gone from the source.

    `among` narrows to those projects. The ledger forgets the counts with them, and those of the `day` that the run is
    about: when the project is switched on, the schedule sees that they are missing and has its newest snapshot counted.
    Returns how many counts went.
    """
    with postgres.ledgers.connect() as connection:
        ((purged,),) = connection.execute(
            _PURGE, {"keep": list(keep), "among": None if among is None else list(among), "day": day}
        ).fetchall()
    return int(purged)


@dataclass(frozen=True)
class LeftOver:
    """Current counts of projects that are not counted any more: their newest day, and the projects.

    `projects` None: a run has to be about all projects to remove them, or there is no other to be counted.
    """

    day: date
    projects: tuple[int, ...] | None


def left_over(postgres: Postgres, tenants: Tenants, today: date) -> LeftOver | None:
    """The current counts of days before today that only `purge_others` removes; None: there are none.

    Those of today may be of a project that is being prepared for the feature.
    """
    keep = [project.id for project in tenants.projects]
    rows = postgres.query(_LEFT_OVER, keep=keep, today=today)
    if not rows:
        return None
    there = {skipped.project_id for skipped in tenants.skipped}
    can_be_narrowed = bool(keep) and all(project in there for project, _ in rows)
    projects = tuple(project for project, _ in rows) if can_be_narrowed else None
    return LeftOver(max(day for _, day in rows), projects)


_LEFT_OVER = """
    SELECT project_id, max(snapshot_date) FROM analytics_pipeline.segment_membership_counts
    WHERE NOT project_id = ANY(%(keep)s::bigint[]) GROUP BY project_id
    HAVING max(snapshot_date) < %(today)s ORDER BY project_id
"""

_PURGE = """
    WITH purged AS (
        DELETE FROM analytics_pipeline.segment_membership_counts
        WHERE NOT project_id = ANY(%(keep)s) AND (%(among)s::bigint[] IS NULL OR project_id = ANY(%(among)s))
        RETURNING project_id, snapshot_date
    ),
    forgotten AS (
        DELETE FROM analytics_pipeline.segment_refreshes
        WHERE NOT project_id = ANY(%(keep)s) AND (%(among)s::bigint[] IS NULL OR project_id = ANY(%(among)s))
            AND (
                snapshot_date = %(day)s
                OR (project_id, snapshot_date) IN (SELECT project_id, snapshot_date FROM purged)
            )
    )
    SELECT count(*) FROM purged
"""

_NEWEST_DAY = "SELECT max(snapshot_date) FROM analytics_pipeline.segment_membership_counts WHERE project_id = %s"

# An anti-join: `NOT IN` would compare each with each, once they are too many for one hash table.
_REMOVE_STALE = """
    DELETE FROM analytics_pipeline.segment_membership_counts AS current
    WHERE project_id = %s AND NOT EXISTS (
        SELECT FROM unnest(%s::bigint[], %s::bigint[]) AS kept (segment_id, environment_id)
        WHERE kept.segment_id = current.segment_id AND kept.environment_id = current.environment_id
    )
"""
