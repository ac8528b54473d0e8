"""Which environments and projects a day still lacks, by our own ledgers: a green partition proves less than they do."""

from dataclasses import dataclass
from datetime import date

from analytics_pipeline.flows.tenants import Tenants
from analytics_pipeline.resources.postgres import Postgres


@dataclass(frozen=True)
class Missing:
    """The day's environments without a completed load, and its projects whose current counts are of an earlier day."""

    environments: tuple[int, ...]
    projects: tuple[int, ...]

    def __bool__(self) -> bool:
        return bool(self.environments or self.projects)


def missing(postgres: Postgres, tenants: Tenants, day: date) -> Missing:
    """What the day lacks of the tenants' snapshots and counts."""
    loaded = {key for (key,) in postgres.query(_LOADED, day=day)}
    counted = {project for (project,) in postgres.query(_COUNTED, day=day)}
    return Missing(
        tuple(environment.id for environment in tenants.environments if environment.key not in loaded),
        tuple(project.id for project in tenants.projects if project.environments and project.id not in counted),
    )


_LOADED = """
    SELECT environment_key FROM analytics_pipeline.identity_loads
    WHERE snapshot_date = %(day)s AND status = 'completed'
"""

_COUNTED = """
    SELECT project_id FROM analytics_pipeline.segment_membership_counts
    GROUP BY project_id HAVING min(snapshot_date) >= %(day)s
"""
