"""What a day still lacks, by our own ledgers: a green partition proves less than they do."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta

from analytics_pipeline.flows.tenants import Tenants
from analytics_pipeline.resources.postgres import Postgres


@dataclass(frozen=True)
class Missing:
    """The projects with an environment that the day's snapshot lacks, and the projects that the day's counts lack."""

    day: date
    to_load: frozenset[int]
    to_count: frozenset[int]


def missing(postgres: Postgres, tenants: Tenants, first: date, last: date) -> list[Missing]:
    """What each day from `first` to `last`, both inclusive, lacks of the enabled tenants; the newest day first."""
    loads = _by_day(postgres.query(_LOADS, first=first, last=last))
    refreshes = _by_day(postgres.query(_REFRESHES, first=first, last=last))
    days = [last - timedelta(days=number) for number in range((last - first).days + 1)]
    return [
        Missing(
            day,
            frozenset(e.project_id for e in tenants.environments if e.key not in loads.get(day, ())),
            frozenset(p.id for p in tenants.projects if p.environments and p.id not in refreshes.get(day, ())),
        )
        for day in days
    ]


def _by_day(rows: Collection[tuple[date, object]]) -> dict[date, set[object]]:
    found: dict[date, set[object]] = {}
    for day, unit in rows:
        found.setdefault(day, set()).add(unit)
    return found


_LOADS = """
    SELECT snapshot_date, environment_key FROM analytics_pipeline.identity_loads
    WHERE snapshot_date BETWEEN %(first)s AND %(last)s AND status = 'completed'
"""

_REFRESHES = """
    SELECT snapshot_date, project_id FROM analytics_pipeline.segment_refreshes
    WHERE snapshot_date BETWEEN %(first)s AND %(last)s AND status = 'completed'
"""
