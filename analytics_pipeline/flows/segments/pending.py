"""Gaps of days. Ledgers, ClickHouse and the landing zone are asked: a green partition proves less than they do."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TypeAlias

from analytics_pipeline.flows.days import day_start, next_day
from analytics_pipeline.flows.identities.kept import kept_captures
from analytics_pipeline.flows.identities.stored import NOTHING, Stored, glimpsed_environments
from analytics_pipeline.flows.segments.ledger import StoredCounts
from analytics_pipeline.flows.segments.stored import counts_in_store
from analytics_pipeline.flows.tenants import Environment, Project, Tenants
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.landing import LandingZone
from analytics_pipeline.resources.postgres import Postgres

Ids: TypeAlias = frozenset[int]


@dataclass(frozen=True)
class Stores:
    """The stores that are compared."""

    postgres: Postgres
    clickhouse: ClickHouse
    landing: LandingZone


@dataclass(frozen=True)
class Pending:
    """Gaps of a day that can be closed, as ids of projects: to be captured, loaded and counted, loaded, or counted.

    Each is part of the next: what is captured is loaded, and what is loaded is counted. `lost` are the ids of
    environments whose snapshot was loaded, is not in ClickHouse as loaded, and can never be had again.
    """

    day: date
    to_capture: Ids
    to_load: Ids
    to_count: Ids
    lost: Ids


@dataclass(frozen=True)
class _Load:
    """The last load of an environment, as the ledger has it; `captured_at` None: none was ever complete."""

    is_complete: bool
    captured_at: datetime | None
    rows: int

    def is_in(self, held: Stored) -> bool:
        return self.captured_at is not None and held.has_load(self.captured_at, self.rows)


@dataclass(frozen=True)
class _Day:
    """Facts about a day: its loads by environment key, what ClickHouse holds of them, its counts by project id.

    `counts` tells for each project whose count was begun whether it is complete. A day `has_ended` when all enabled
    environments have to be in it; of the present day only what somebody began is brought to its end.
    """

    day: date
    has_ended: bool
    can_be_captured: bool
    loads: Mapping[str, _Load]
    held: Mapping[str, Stored]
    counts: Mapping[int, bool]

    def pending(self, landing: LandingZone, tenants: Tenants, *, is_loading: bool) -> Pending:
        """`is_loading`: somebody is at it, so that only counts may be lacking."""
        wanted = [one for one in tenants.environments if self.has_ended or one.key in self.loads]
        lacking = [one for one in wanted if not self._is_held(one)]
        loadable = [] if is_loading else self._loadable(landing, lacking)
        captured = [one for one in wanted if one not in loadable and not self._is_final(one)]
        to_capture = captured if self.can_be_captured and not is_loading else []
        to_load = {*to_capture, *loadable}
        countable = {one.project_id for one in wanted if self._is_stored(one) or one in to_load}
        lost = [] if is_loading else [one for one in lacking if one not in to_load and self._is_lost(one)]
        return Pending(
            self.day,
            frozenset(one.project_id for one in to_capture),
            frozenset(one.project_id for one in to_load),
            frozenset(p.id for p in tenants.projects if p.id in countable and self._is_to_be_counted(p, to_load)),
            frozenset(one.id for one in lost),
        )

    def _is_held(self, environment: Environment) -> bool:
        return self._is_stored(environment) and self.loads[environment.key].is_complete

    def _is_stored(self, environment: Environment) -> bool:
        """Whether the last load that was complete is there, whatever became of a later one."""
        load = self.loads.get(environment.key)
        return load is not None and load.is_in(self.held.get(environment.key, NOTHING))

    def _is_lost(self, environment: Environment) -> bool:
        load = self.loads.get(environment.key)
        return load is not None and load.captured_at is not None and not self._is_stored(environment)

    def _is_final(self, environment: Environment) -> bool:
        """Whether what is held of a day that has ended was captured after its end."""
        captured_at = self.loads[environment.key].captured_at if self._is_held(environment) else None
        return captured_at is not None and self._is_late_enough(captured_at)

    def _is_late_enough(self, captured_at: datetime) -> bool:
        return not self.has_ended or captured_at >= day_start(next_day(self.day))

    def _loadable(self, landing: LandingZone, lacking: Sequence[Environment]) -> list[Environment]:
        """Those whose capture is still there, and not older than what ClickHouse holds."""
        kept = kept_captures(landing, self.day, [environment.key for environment in lacking])
        return [
            one
            for one in lacking
            if one.key in kept
            and kept[one.key] >= self.held.get(one.key, NOTHING).version
            and (not self.can_be_captured or self._is_late_enough(kept[one.key]))
        ]

    def _is_to_be_counted(self, project: Project, to_load: Collection[Environment]) -> bool:
        if any(environment in to_load for environment in project.environments):
            return True
        return not self.counts.get(project.id, not self.has_ended)


def pending(
    stores: Stores, tenants: Tenants, days: Sequence[date], today: date, open_days: Collection[date]
) -> list[Pending]:
    """Gaps of each of the days for the enabled tenants, in their order. `open_days` can be captured now."""
    parameters = {"days": list(days)}
    held = glimpsed_environments(stores.clickhouse, days)
    in_store = counts_in_store(stores.clickhouse, days)
    loads = {(day, key): _Load(*load) for day, key, *load in stores.postgres.query(_LOADS, **parameters)}
    counts = {
        (day, project): is_complete and in_store.has(day, project, StoredCounts(*stored))
        for day, project, is_complete, *stored in stores.postgres.query(_REFRESHES, **parameters)
    }
    return [
        _Day(
            day,
            day < today,
            day in open_days,
            {key: load for (of, key), load in loads.items() if of == day},
            {key: one for (of, key), one in held.items() if of == day},
            {project: is_complete for (of, project), is_complete in counts.items() if of == day},
        ).pending(stores.landing, tenants, is_loading=stores.postgres.is_leased(f"identities:{day}"))
        for day in days
    ]


_LOADS = """
    SELECT snapshot_date, environment_key, status = 'completed', captured_at, coalesce(rows, 0)
    FROM analytics_pipeline.identity_loads
    WHERE snapshot_date = ANY(%(days)s)
"""

_REFRESHES = """
    SELECT
        refresh.snapshot_date,
        refresh.project_id,
        refresh.status = 'completed' AND refresh.started_at >= coalesce(max(load.completed_at), '-infinity'),
        refresh.counts,
        refresh.computed_at
    FROM analytics_pipeline.segment_refreshes AS refresh
    LEFT JOIN analytics_pipeline.identity_loads AS load USING (snapshot_date, project_id)
    WHERE refresh.snapshot_date = ANY(%(days)s)
    GROUP BY refresh.snapshot_date, refresh.project_id
"""
