"""Figures: those whose rows are still there are computed again, and sets of users are left without the subject."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timezone

from analytics_pipeline.flows.days import contiguous
from analytics_pipeline.flows.erasure.identities import Snapshots
from analytics_pipeline.flows.erasure.naming import CLICKHOUSE
from analytics_pipeline.flows.erasure.steps import PATIENCE, Found, Step, Work
from analytics_pipeline.flows.erasure.tables import Table
from analytics_pipeline.flows.identities.open_days import is_open
from analytics_pipeline.flows.product_events.aggregates.build import Build, lacks_events
from analytics_pipeline.flows.product_events.aggregates.tables import AGGREGATES, Aggregate
from analytics_pipeline.flows.product_events.ledger import recorded
from analytics_pipeline.flows.product_events.source import EVENTS, has_expired, seen_days
from analytics_pipeline.flows.segments.ledger import RefreshLedger
from analytics_pipeline.flows.segments.refresh import CountRefresh
from analytics_pipeline.flows.tenants import Project, enabled_tenants
from analytics_pipeline.resources.feature_flags import feature_flags

# The values of a set of distinct UUIDs, as ClickHouse keeps it: how many they are, then 16 bytes for each.
VALUES_OF_SETS = (
    "arrayMap(place -> reinterpret(toFixedString(substring(unhex(hex({0})),"
    " 1 + intDiv(length(hex({0})), 2) - 16 * (place + 1), 16), 16), 'UUID'), range(finalizeAggregation({0})))"
)


@dataclass(frozen=True)
class ProductEventFigures:
    """One aggregate of product events. Days of which events have expired keep their counts."""

    work: Work
    aggregate: Aggregate

    def again(self) -> Step:
        """The step that computes the days of the subject's events again, where all events are there."""
        return Step(f"clickhouse.{self.aggregate.name}: days", "computed again", self._look, self._compute)

    def _look(self) -> Found:
        condition, parameters = self.work.target.rows(CLICKHOUSE[EVENTS])
        clickhouse, postgres = self.work.stores.clickhouse, self.work.stores.postgres
        rows = clickhouse.query(f"SELECT DISTINCT toDate(timestamp) FROM {EVENTS} WHERE {condition}", **parameters)
        days = sorted(day for (day,) in rows)
        if not days:
            return Found(0)
        known = recorded(postgres, self.aggregate.name, days[0], days[-1])
        moments = {day: one.settled_until for day, one in known.items()}
        now = datetime.now(timezone.utc)
        seen = seen_days(clickhouse, days, now, moments)
        kept = self.work.stores.settings.event_retention_days
        whole = [
            day
            for day in days
            if day in known and not has_expired(day, now.date(), kept) and not lacks_events(seen[day], known[day])
        ]
        return Found(len(whole), tuple(whole))

    def _compute(self, days: Sequence[date]) -> None:
        stores = self.work.stores
        build = Build(
            self.aggregate,
            stores.clickhouse,
            stores.postgres,
            stores.run_id,
            stores.settings.event_retention_days,
            even_if_fewer=True,
        )
        for first, last in contiguous(days):
            build.build(first, last)

    def taking_out(self) -> Step:
        """The step that takes the subject out of sets of users, in whichever version of a row."""
        table = Table(self.work, self.aggregate.name)
        (kind, (state, shown)) = next(iter(table.named.states.items()))
        values = VALUES_OF_SETS.format(state)
        wanted = [one.names[0] for one in self.work.target.of(kind)]
        found_by = (f"hasAny({values}, {{wanted:Array(UUID)}})", {"wanted": wanted})
        hidden, parameters = self.work.target.hidden(kind, ("one",))
        left = f"arrayFilter(one -> NOT ({hidden}), {values})"

        def look() -> Found:
            count = f"SELECT count() FROM {self.aggregate.name} WHERE {found_by[0]}"
            return Found(table.clickhouse.scalar(count, **found_by[1]))

        def take_out(_: Sequence[date]) -> None:
            update = (
                f"UPDATE {state} = arrayReduce('uniqExactState', {left}), {shown} = length({left})"
                f" IN PARTITION ID {{}} WHERE arrayExists(one -> {hidden}, {values})"
            )
            with self.work.stores.postgres.lease(self.aggregate.table.lease, patience=PATIENCE):
                table.change(found_by, update, parameters)

        return Step(f"clickhouse.{self.aggregate.name}: sets", "taken out", look, take_out)


def product_event_figures(work: Work) -> tuple[list[Step], list[Step]]:
    """The steps that compute days again, and those that take the subject out of sets of users."""
    if not {one.kind for one in work.target.all} & {"organisation", "event_user"}:
        return [], []
    ones = [ProductEventFigures(work, aggregate) for aggregate in AGGREGATES]
    sets = [one.taking_out() for one in ones if CLICKHOUSE[one.aggregate.name].states and work.target.of("event_user")]
    return [one.again() for one in ones], sets


@dataclass(frozen=True)
class SegmentCounts:
    """Counts of the days of which the subject's snapshots are there, in projects that are counted at all."""

    work: Work

    def again(self) -> Step:
        return Step("clickhouse.segment_counts: days", "computed again", self._look, self._count)

    def _look(self) -> Found:
        days = Snapshots(self.work).look().days if self._projects() else ()
        return Found(len(days), days)

    def _projects(self) -> list[Project]:
        stores = self.work.stores
        keys = {one.names[0] for one in self.work.target.of("identity")}
        tenants = enabled_tenants(stores.postgres, feature_flags(stores.settings, stores.postgres))
        return [one for one in tenants.projects if keys & {environment.key for environment in one.environments}]

    def _count(self, days: Sequence[date]) -> None:
        stores = self.work.stores
        for day in days:
            ledger = RefreshLedger(stores.postgres, day, stores.run_id)
            refresh = CountRefresh(stores.clickhouse, stores.postgres, ledger, is_open(day, stores.settings))
            for project in self._counted(day):
                refresh.refresh(project)

    def _counted(self, day: date) -> list[Project]:
        """The projects that were counted on the day; the others have no figure that could be wrong."""
        projects: Mapping[int, Project] = {one.id: one for one in self._projects()}
        rows = self.work.stores.postgres.query(_REFRESHED, day=day, projects=list(projects))
        return [projects[project] for (project,) in rows]


_REFRESHED = """
    SELECT project_id FROM analytics_pipeline.segment_refreshes
    WHERE snapshot_date = %(day)s AND project_id = ANY(%(projects)s)
"""
