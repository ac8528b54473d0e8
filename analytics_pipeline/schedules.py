"""Level-triggered schedules: each tick asks for what our ledgers say is missing, so a missed tick loses nothing."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta

import dagster as dg

from analytics_pipeline.config import NotConfigured, Settings
from analytics_pipeline.flows.ai_usage.sync import changed_closed_days
from analytics_pipeline.flows.daily_copy.source import contiguous
from analytics_pipeline.flows.enablement.features import AI_USAGE
from analytics_pipeline.flows.identities.capture import DayHasClosed, refuse_closed_day
from analytics_pipeline.flows.reporting.accounts import accounts
from analytics_pipeline.flows.reporting.pending import Pending, closed
from analytics_pipeline.flows.segments.coverage import missing
from analytics_pipeline.flows.tenants import Tenants, enabled_tenants
from analytics_pipeline.partitions import range_tags
from analytics_pipeline.resources.dynamodb import identities_table
from analytics_pipeline.resources.feature_flags import feature_flags
from analytics_pipeline.resources.postgres import postgres
from analytics_pipeline.run_states import ABOUT_THE_PAST, runs_under_way
from analytics_pipeline.ticks import looked, settings_with_clickhouse

# Older gaps are an operator's decision: their snapshots may be about to expire.
LOOK_BACK = timedelta(days=7)
GRAPH = ("raw_identities", "identity_snapshots", "segment_counts")


@dg.schedule(
    cron_schedule="15 * * * *",
    target=dg.AssetSelection.assets(*GRAPH),
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Asks, each hour, for what is missing of the last seven closed days and can still be had.",
)
def daily_segment_counts(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    """Asks, each hour, for what is missing of the last seven closed days and can still be had, the newest first.

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
    tags = {"dagster/partition": str(request.partition_key), "dagster/schedule_name": "daily_segment_counts"}
    return runs_under_way(instance, tags)


@dg.schedule(
    cron_schedule="25 * * * *",
    target=dg.AssetSelection.assets("reporting_events", "reporting_rollups"),
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Asks, each hour, for the copies and rollups that the last seven closed days lack.",
)
def daily_reporting(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    """Asks, each hour, for the copies and rollups that the last seven closed days lack.

    A day is copied once more after it has ended. Dates that wait for a copy are asked for when that has landed. Older
    days have their turn once a week: those that are no longer what the source holds are copied again.
    """
    now = context.scheduled_execution_time
    if runs_under_way(context.instance, {"dagster/schedule_name": "daily_reporting"}):
        return dg.SkipReason("what it asked for before is still under way")

    def look(settings: Settings) -> Pending:
        first = max(now.date() - LOOK_BACK, settings.analytics_start_date)
        return closed(postgres(settings), now, first, settings.analytics_start_date)

    pending = looked(look)
    if isinstance(pending, dg.SkipReason):
        return pending
    wanted = {"reporting_events": pending.copies, "reporting_rollups": pending.rollups}
    requests = [
        dg.RunRequest(
            run_key=f"{asset}:{first}:{last}:{now:%Y%m%d%H%M}",
            asset_selection=[dg.AssetKey(asset)],
            tags={**range_tags(first, last), **ABOUT_THE_PAST},
        )
        for asset, days in wanted.items()
        for first, last in contiguous(days)
    ]
    return requests or dg.SkipReason("every closed day is copied and rolled up")


@dg.schedule(
    cron_schedule="35 * * * *",
    target=dg.AssetSelection.assets(*AI_USAGE.assets),
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Asks, each hour, for closed days whose AI events were deleted, moved or changed unseen.",
)
def daily_ai_usage(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    """Asks, each hour, for closed days whose AI events were deleted, moved or changed unseen.

    The last seven are compared with the source each hour, older ones have their turn once a week. All that carries a
    time stamp is found by the sensor `ai_usage_late_rows`.
    """
    now = context.scheduled_execution_time
    if runs_under_way(context.instance, {"dagster/schedule_name": "daily_ai_usage"}):
        return dg.SkipReason("what it asked for before is still under way")
    days = looked(lambda settings: changed_closed_days(postgres(settings), now, settings.analytics_start_date))
    if isinstance(days, dg.SkipReason):
        return days
    if days is None:
        return dg.SkipReason("AI usage is switched off, or its history is still being brought in")
    requests = [
        dg.RunRequest(run_key=f"{first}:{last}:{now:%Y%m%d%H%M}", tags={**range_tags(first, last), **ABOUT_THE_PAST})
        for first, last in contiguous(days)
    ]
    return requests or dg.SkipReason("every closed day that was compared is as the source holds it")


@dg.schedule(
    cron_schedule="*/15 * * * *",
    target=dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey("reporting_events"), "changes_are_followed")),
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Asks, each quarter of an hour, whether changes are followed, also while nothing is copied.",
)
def reporting_lag() -> dg.RunRequest | dg.SkipReason:
    """Asks, each quarter of an hour, whether changes are followed.

    With a copy the check runs anyway; a sensor that is stuck asks for none.
    """
    zoned = looked(lambda settings: accounts(postgres(settings)).zoned)
    if isinstance(zoned, dg.SkipReason):
        return zoned
    return dg.RunRequest() if zoned else dg.SkipReason("no account has a reporting time zone, so nothing is followed")
