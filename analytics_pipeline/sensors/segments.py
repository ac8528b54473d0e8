"""Counts a project again when its segments change, or when its counts are lost."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timezone
from hashlib import sha256
from itertools import groupby

import dagster as dg

from analytics_pipeline.config import Settings
from analytics_pipeline.flows.segments.changes import Changed, changed_projects
from analytics_pipeline.flows.tenants import enabled_tenants
from analytics_pipeline.orchestration.requests import FOLLOWS
from analytics_pipeline.orchestration.run_states import may_be_asked_again, runs_under_way
from analytics_pipeline.orchestration.ticks import looked_at_stores
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.feature_flags import feature_flags
from analytics_pipeline.resources.postgres import Postgres

# Spreads a burst, such as an import of many projects' segments, over ticks.
PROJECTS_PER_TICK = 20
# Projects that a run counts again: the same ones with the same segments pause after runs that brought nothing.
CHANGES = "analytics_pipeline/changes"
_KIND = {FOLLOWS: "segments"}


@dg.sensor(
    target=dg.AssetSelection.assets("segment_counts"),
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Looks once a minute for projects whose segments are not those that were last counted, and has them"
    " counted again once they have been quiet for two minutes.",
)
def segment_changes(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Asks for new counts of projects whose segments are not those that were last counted, or whose counts are gone.

    Waits until a project's segments have been quiet for two minutes, and takes a bounded number of projects a tick. It
    compares the source with the ledger `segment_refreshes` and that with ClickHouse, so a lost tick or cursor loses
    nothing.
    """
    changed = looked_at_stores("segments", _changed)
    if isinstance(changed, dg.SkipReason):
        return changed
    if not changed:
        return dg.SkipReason("the segments are those that were last counted, and ClickHouse holds their counts")
    requests = list(_requests(context.instance, changed[:PROJECTS_PER_TICK]))
    if not requests:
        return dg.SkipReason("a run for changed segments is under way, or pauses after failures")
    return dg.SensorResult(run_requests=requests)


def _changed(settings: Settings, store: Postgres, clickhouse: ClickHouse) -> list[Changed]:
    return changed_projects(store, clickhouse, enabled_tenants(store, feature_flags(settings, store)))


def _requests(instance: dg.DagsterInstance, changed: Sequence[Changed]) -> Iterator[dg.RunRequest]:
    """One run for each day, without run keys: what is still needed has to be asked for again."""
    if runs_under_way(instance, _KIND):
        return
    now = datetime.now(timezone.utc)
    for day, group in groupby(sorted(changed, key=_day), key=_day):
        items = list(group)
        what = "+".join(f"{day}:{item.project_id}:{item.fingerprint}" for item in items)
        tags = {**_KIND, CHANGES: sha256(what.encode()).hexdigest()[:32]}
        if may_be_asked_again(instance, tags, now):
            projects = [item.project_id for item in items]
            yield dg.RunRequest(
                partition_key=day.isoformat(),
                tags=tags,
                run_config={"ops": {"segment_counts": {"config": {"projects": projects}}}},
            )


def _day(item: Changed) -> date:
    return item.day
