"""What a day still lacks, by our own ledgers: a green partition proves less than they do."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta

from analytics_pipeline.flows.tenants import Tenants
from analytics_pipeline.resources.postgres import Postgres


@dataclass(frozen=True)
class Missing:
    """What a day lacks, as ids of projects.

    `to_load`: an environment has no snapshot that was captured after the day closed. `unloaded`: one has no snapshot at
    all. `to_count`: the counts are older than the snapshot, or absent.
    """

    day: date
    to_load: frozenset[int]
    unloaded: frozenset[int]
    to_count: frozenset[int]


def missing(postgres: Postgres, tenants: Tenants, first: date, last: date) -> list[Missing]:
    """What each day from `first` to `last`, both inclusive, lacks of the enabled tenants; the newest day first."""
    days = [last - timedelta(days=number) for number in range((last - first).days + 1)]
    loaded = _by_day(postgres.query(_LOADS, first=first, last=last))
    closed = _by_day(postgres.query(_CLOSING_LOADS, first=first, last=last))
    counted = _by_day(postgres.query(_REFRESHES, first=first, last=last))
    return [
        Missing(
            day,
            _projects_without(tenants, closed.get(day, frozenset())),
            _projects_without(tenants, loaded.get(day, frozenset())),
            frozenset(p.id for p in tenants.projects if p.environments and p.id not in counted.get(day, ())),
        )
        for day in days
    ]


def _projects_without(tenants: Tenants, environment_keys: Collection[object]) -> frozenset[int]:
    return frozenset(e.project_id for e in tenants.environments if e.key not in environment_keys)


def _by_day(rows: Collection[tuple[date, object]]) -> dict[date, set[object]]:
    found: dict[date, set[object]] = {}
    for day, unit in rows:
        found.setdefault(day, set()).add(unit)
    return found


_LOADS = """
    SELECT snapshot_date, environment_key FROM analytics_pipeline.identity_loads
    WHERE snapshot_date BETWEEN %(first)s AND %(last)s AND status = 'completed'
"""

_CLOSING_LOADS = """
    SELECT snapshot_date, environment_key FROM analytics_pipeline.identity_loads
    WHERE snapshot_date BETWEEN %(first)s AND %(last)s AND status = 'completed'
        AND captured_at >= (snapshot_date + 1)::timestamp AT TIME ZONE 'UTC'
"""

_REFRESHES = """
    SELECT refresh.snapshot_date, refresh.project_id
    FROM analytics_pipeline.segment_refreshes AS refresh
    LEFT JOIN analytics_pipeline.identity_loads AS load USING (snapshot_date, project_id)
    WHERE refresh.snapshot_date BETWEEN %(first)s AND %(last)s AND refresh.status = 'completed'
    GROUP BY refresh.snapshot_date, refresh.project_id, refresh.started_at
    HAVING refresh.started_at >= coalesce(max(load.completed_at), '-infinity')
"""
