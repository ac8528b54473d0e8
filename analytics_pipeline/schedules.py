"""Level-triggered schedules: each tick asks for what our ledgers say is missing, so a missed tick loses nothing."""

from datetime import datetime, timedelta

import dagster as dg

from analytics_pipeline.config import NotConfigured, Settings
from analytics_pipeline.flows.identities.capture import DayHasClosed, refuse_closed_day
from analytics_pipeline.flows.segments.coverage import missing
from analytics_pipeline.flows.tenants import enabled_tenants
from analytics_pipeline.resources.dynamodb import identities_table
from analytics_pipeline.resources.feature_flags import feature_flags
from analytics_pipeline.resources.postgres import postgres

_UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


@dg.schedule(
    cron_schedule="15 * * * *",
    target=dg.AssetSelection.assets("raw_identities", "identity_snapshots", "segment_counts"),
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def daily_segment_counts(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Captures, loads and counts the day that has just closed; asks again each hour while something of it is missing.

    Once `IDENTITY_CAPTURE_GRACE_HOURS` have passed the day can no longer be captured, and the schedule rests.
    """
    now = context.scheduled_execution_time
    day = now.date() - timedelta(days=1)
    try:
        reason = _nothing_to_do(context.instance, now)
    except NotConfigured as error:
        reason = f"skipped: {error.reason}"
    if reason:
        return dg.SkipReason(reason)
    # The tick is part of the key: a day that failed is asked for again.
    return dg.RunRequest(run_key=f"{day}:{now:%Y%m%d%H%M}", partition_key=day.isoformat())


def _nothing_to_do(instance: dg.DagsterInstance, now: datetime) -> str:
    """Why the tick asks for nothing; empty when it must ask."""
    settings = Settings.load()
    if settings.clickhouse_url is None:
        raise NotConfigured("clickhouse", "CLICKHOUSE_URL")
    identities_table(settings)
    day = now.date() - timedelta(days=1)
    try:
        refuse_closed_day(day, now, timedelta(hours=settings.identity_capture_grace_hours))
    except DayHasClosed:
        return f"{day} can no longer be captured"
    store = postgres(settings)
    if not missing(store, enabled_tenants(store, feature_flags(settings, store)), day):
        return f"{day} is complete"
    tags = {"dagster/partition": day.isoformat(), "dagster/schedule_name": "daily_segment_counts"}
    if instance.get_runs_count(dg.RunsFilter(tags=tags, statuses=_UNDER_WAY)):
        return f"a run for {day} is under way"
    return ""
