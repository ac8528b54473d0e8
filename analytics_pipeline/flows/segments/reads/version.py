"""The state of the sizes of a project's segments on closed days, by our ledgers."""

from datetime import date

from analytics_pipeline.flows.tenants import Project
from analytics_pipeline.resources.postgres import Postgres


def version(postgres: Postgres, project: Project, first: date, last: date) -> str | None:
    """Changes with any size of the days, both ends inclusive, and with the project's segments and environments.

    None: one of the days is being counted, so ClickHouse has to be asked.
    """
    ((is_counting, counted),) = postgres.query(_COUNTED, project=project.id, first=first, last=last)
    ((live,),) = postgres.query(_LIVE, project=project.id)
    environments = ",".join(str(one.id) for one in project.environments)
    return None if is_counting else f"{counted}|{live}|{environments}"


_COUNTED = """
    SELECT
        count(*) FILTER (WHERE status = 'running') > 0,
        md5(string_agg(
            concat_ws(':', snapshot_date, status, started_at, completed_at, counts, computed_at), ','
            ORDER BY snapshot_date
        ))
    FROM analytics_pipeline.segment_refreshes
    WHERE project_id = %(project)s AND snapshot_date BETWEEN %(first)s AND %(last)s
"""

_LIVE = """
    SELECT md5(string_agg(concat_ws(':', id, name), ',' ORDER BY id))
    FROM {segments} WHERE project_id = %(project)s AND deleted_at IS NULL
"""
