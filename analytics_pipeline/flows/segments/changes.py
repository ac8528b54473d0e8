"""Projects whose counts are not those of their segments as they are now."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta

from analytics_pipeline.flows.segments.ledger import StoredCounts, fingerprints
from analytics_pipeline.flows.segments.stored import counts_in_store
from analytics_pipeline.flows.tenants import NO_SEGMENTS, Tenants
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.postgres import Postgres
from analytics_pipeline.resources.sql_files import sql_file

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


def changed_projects(postgres: Postgres, clickhouse: ClickHouse, tenants: Tenants) -> list[Changed]:
    """The enabled projects to count again, the longest waiting first.

    Their segments have changed since their last count, the last one among them was deleted, a count did not come to
    its end, or its rows are not in ClickHouse any more.
    """
    current = fingerprints(postgres)
    rows = postgres.query(sql_file(__package__, "newest_counts.sql"), patience=PATIENCE, back_off=BACK_OFF)
    being_edited = {project for (project,) in postgres.query(_BEING_EDITED, quiet=QUIET)}
    in_store = counts_in_store(clickhouse, [day for _, day, *_ in rows])
    watched = _watched(tenants)
    return [
        Changed(project, day, current.get(project, ""))
        for project, day, counted, has_waited, is_complete, *stored in rows
        if project in watched
        and (
            not is_complete
            or not in_store.has(day, project, StoredCounts(*stored))
            or ((has_waited or project not in being_edited) and counted != current.get(project, ""))
        )
    ]


def _watched(tenants: Tenants) -> Collection[int]:
    """The projects to count, and those whose last segment was deleted: they have counts to lose."""
    emptied = {skipped.project_id for skipped in tenants.skipped if skipped.reason == NO_SEGMENTS}
    return emptied | {project.id for project in tenants.projects}


_BEING_EDITED = """
    SELECT project_id FROM {segments}
    GROUP BY project_id HAVING max(greatest(updated_at, deleted_at)) >= now() - %(quiet)s::interval
"""
