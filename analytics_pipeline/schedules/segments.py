"""Level-triggered: each tick asks for what the ledgers say is missing, so a missed tick loses nothing."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta

import dagster as dg

from analytics_pipeline.config import NotConfigured, Settings
from analytics_pipeline.flows.identities.capture import DayHasClosed, refuse_closed_day
from analytics_pipeline.flows.segments.pending import missing
from analytics_pipeline.flows.tenants import Tenants, enabled_tenants
from analytics_pipeline.orchestration.run_states import runs_under_way
from analytics_pipeline.orchestration.ticks import LOOK_BACK, settings_with_clickhouse
from analytics_pipeline.resources.dynamodb import identities_table
from analytics_pipeline.resources.feature_flags import feature_flags
from analytics_pipeline.resources.postgres import postgres

GRAPH = ("raw_identities", "identity_snapshots", "segment_counts")


@dg.schedule(
    cron_schedule="15 * * * *",
    target=dg.AssetSelection.assets(*GRAPH),
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Asks, each hour, for the captures, loads and counts that the last seven closed days lack and that can"
    " still be had.",
)
def segments_closed_days(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    """One request for each closed day that lacks something, the newest first.

    The day that has just closed is captured, loaded and counted while `IDENTITY_CAPTURE_GRACE_HOURS` last; an older day
    that is loaded but not counted is counted. A day that is complete, or has a run under way, is left alone.
    """
    now = context.scheduled_execution_time
    try:
        wanted = [request for request in _missing(now) if not _is_under_way(context.instance, request)]
    except NotConfigured as error:
        return dg.SkipReason(f"skipped: {error.reason}")
    return wanted or dg.SkipReason("nothing is missing that can still be had, or a run for it is under way")


def _missing(now: datetime) -> Iterator[dg.RunRequest]:
    settings = settings_with_clickhouse()
    identities_table(settings)
    store = postgres(settings)
    tenants = enabled_tenants(store, feature_flags(settings, store))
    last = now.date() - timedelta(days=1)
    first = max(last - LOOK_BACK + timedelta(days=1), settings.analytics_start_date)
    for gap in missing(store, tenants, first, last):
        to_load = gap.to_load if _can_be_captured(gap.day, now, settings) else frozenset[int]()
        # Without its snapshot a project cannot be counted.
        to_count = to_load | (gap.to_count - gap.unloaded)
        if to_count:
            yield _request(gap.day, now, tenants, to_load, to_count)


def _can_be_captured(day: date, now: datetime, settings: Settings) -> bool:
    try:
        refuse_closed_day(day, now, timedelta(hours=settings.identity_capture_grace_hours))
    except DayHasClosed:
        return False
    return True


def _request(
    day: date, now: datetime, tenants: Tenants, to_load: frozenset[int], to_count: frozenset[int]
) -> dg.RunRequest:
    """A run for just these projects, so that nothing that is complete is captured or counted again.

    When they are all there are, the run is not narrowed: only such a run also removes what has gone from the source.
    """
    projects = dict.fromkeys(GRAPH[:2], to_load) if to_load else {}
    projects[GRAPH[2]] = to_count
    everything = {project.id for project in tenants.projects if project.environments}
    narrowed = {asset: sorted(ids) for asset, ids in projects.items() if ids != everything}
    return dg.RunRequest(
        # The tick is part of the key: a day that failed is asked for again.
        run_key=f"{day}:{now:%Y%m%d%H%M}",
        partition_key=day.isoformat(),
        asset_selection=[dg.AssetKey(asset) for asset in projects],
        run_config={"ops": {asset: {"config": {"projects": ids}} for asset, ids in narrowed.items()}},
    )


def _is_under_way(instance: dg.DagsterInstance, request: dg.RunRequest) -> bool:
    tags = {"dagster/partition": str(request.partition_key), "dagster/schedule_name": "segments_closed_days"}
    return runs_under_way(instance, tags)
