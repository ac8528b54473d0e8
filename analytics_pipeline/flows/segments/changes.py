"""Projects whose segments are no longer those that were last counted."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from analytics_pipeline.flows.segments.ledger import fingerprints
from analytics_pipeline.flows.tenants import Tenants
from analytics_pipeline.resources.postgres import Postgres

# An editor saves a segment many times in a row; counting waits until nothing has changed for this long …
QUIET = timedelta(minutes=2)
# … but not for ever: somebody who edits all day still sees counts.
PATIENCE = timedelta(minutes=15)
# A project whose count failed, or is under way, is left alone for this long.
BACK_OFF = timedelta(hours=1)


@dataclass(frozen=True)
class Changed:
    """A project to count again on its newest snapshot day."""

    project_id: int
    day: date
    fingerprint: str


def changed_projects(postgres: Postgres, tenants: Tenants) -> list[Changed]:
    """The enabled projects whose segments have changed since their last count, the longest waiting first."""
    enabled = {project.id for project in tenants.projects}
    current = fingerprints(postgres)
    rows = postgres.query(_NEWEST_SNAPSHOTS, patience=PATIENCE, back_off=BACK_OFF)
    quiet = {project for (project,) in postgres.query(_QUIET_PROJECTS, quiet=QUIET)}
    return [
        Changed(project, day, current[project])
        for project, day, counted, has_waited in rows
        if project in enabled and _is_changed(current, project, counted) and (has_waited or project in quiet)
    ]


def _is_changed(current: Mapping[int, str], project: int, counted: str | None) -> bool:
    return project in current and current[project] != counted


_NEWEST_SNAPSHOTS = """
    WITH snapshot AS (
        SELECT project_id, max(snapshot_date) AS day FROM analytics_pipeline.identity_loads
        WHERE captured_at IS NOT NULL GROUP BY project_id
    )
    SELECT
        snapshot.project_id,
        snapshot.day,
        refresh.fingerprint,
        refresh.completed_at < now() - %(patience)s::interval
    FROM snapshot
    -- Only what was counted can have to be counted again; a first count is the schedule's.
    JOIN analytics_pipeline.segment_refreshes AS refresh
        ON refresh.project_id = snapshot.project_id AND refresh.snapshot_date = snapshot.day
    WHERE refresh.completed_at IS NOT NULL
        -- A run under way is left to finish, and a project that fails is not tried again and again.
        AND (refresh.status = 'completed' OR refresh.started_at < now() - %(back_off)s::interval)
    ORDER BY refresh.started_at, snapshot.project_id
"""

_QUIET_PROJECTS = """
    SELECT project_id FROM {segments}
    GROUP BY project_id HAVING max(greatest(updated_at, deleted_at)) < now() - %(quiet)s::interval
"""
