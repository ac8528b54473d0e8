"""Environments of a project that can be counted on a day: those that ClickHouse holds as the ledger says."""

from dataclasses import dataclass
from datetime import date, datetime

from analytics_pipeline.flows.identities.stored import NOTHING, stored_environments
from analytics_pipeline.flows.segments.errors import SnapshotBusy
from analytics_pipeline.flows.tenants import Environment, Project
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.postgres import Postgres


@dataclass(frozen=True)
class Snapshot:
    """A project's environments on a day: `ready` to be counted; `lost`: not in ClickHouse as loaded; never loaded.

    `loads` are those of the ready ones, as (when captured, rows).
    """

    ready: tuple[Environment, ...]
    lost: tuple[Environment, ...]
    absent: tuple[Environment, ...]
    loads: tuple[tuple[datetime, int], ...]

    @property
    def empty(self) -> tuple[Environment, ...]:
        """Those that are ready and have no identities."""
        return tuple(one for one, (_, rows) in zip(self.ready, self.loads, strict=True) if not rows)


def snapshot_of(clickhouse: ClickHouse, postgres: Postgres, project: Project, day: date) -> Snapshot:
    """Compare ledger and store: nobody could tell a count over rows that are lost from a right one.

    Raises:
        SnapshotBusy: ClickHouse holds an environment otherwise, and a load is under way.
    """
    keys = [environment.key for environment in project.environments]
    rows = postgres.query(_RECORDED, day=day, environments=keys)
    recorded = {key: (captured_at, count) for key, captured_at, count in rows}
    stored = stored_environments(clickhouse, day, keys)
    loaded = [environment for environment in project.environments if environment.key in recorded]
    ready = [one for one in loaded if stored.get(one.key, NOTHING).is_load(*recorded[one.key])]
    lost = sorted({*loaded} - {*ready}, key=lambda environment: environment.id)
    if lost and postgres.is_leased(f"identities:{day}"):
        raise SnapshotBusy(
            f"the snapshot of {day} is being loaded at this moment; the stored counts stay."
            f" Materialise segment_counts of {day} when the load has ended"
        )
    absent = [environment for environment in project.environments if environment.key not in recorded]
    return Snapshot(tuple(ready), tuple(lost), tuple(absent), tuple(recorded[one.key] for one in ready))


def why_lost(day: date) -> str:
    """The reason of what cannot be counted because its snapshot is gone, with the repair."""
    return (
        f"ClickHouse does not hold the snapshot of {day} as it was loaded: it has expired, was dropped or replaced;"
        f" earlier counts stay. Materialise identity_snapshots of {day}, then segment_counts"
    )


_RECORDED = """
    SELECT environment_key, captured_at, rows FROM analytics_pipeline.identity_loads
    WHERE snapshot_date = %(day)s AND environment_key = ANY(%(environments)s) AND captured_at IS NOT NULL
"""
