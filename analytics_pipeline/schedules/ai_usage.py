"""Asks for closed days of AI usage that are no longer what the source holds."""

import dagster as dg

from analytics_pipeline.flows.ai_usage.feature import AI_USAGE
from analytics_pipeline.flows.ai_usage.pending import changed_closed_days
from analytics_pipeline.flows.days import contiguous
from analytics_pipeline.orchestration.partitions import range_tags
from analytics_pipeline.orchestration.run_states import ABOUT_THE_PAST, runs_under_way
from analytics_pipeline.orchestration.ticks import looked_at_stores


@dg.schedule(
    cron_schedule="35 * * * *",
    target=dg.AssetSelection.assets(*AI_USAGE.assets),
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Asks, each hour, for closed days whose AI events were deleted, moved or changed unseen.",
)
def ai_usage_closed_days(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    """One request for each range of closed days that are no longer what the source holds.

    The last seven are compared with the source each hour, older ones have their turn once a week. All that carries a
    time stamp is found by the sensor `ai_usage_late_rows`.
    """
    now = context.scheduled_execution_time
    if runs_under_way(context.instance, {"dagster/schedule_name": "ai_usage_closed_days"}):
        return dg.SkipReason("what it asked for before is still under way")
    days = looked_at_stores(
        "ai_usage",
        lambda settings, store, clickhouse: changed_closed_days(store, clickhouse, now, settings.start_of("ai_usage")),
    )
    if isinstance(days, dg.SkipReason):
        return days
    if isinstance(days, str):
        return dg.SkipReason(days)
    requests = [
        dg.RunRequest(run_key=f"{first}:{last}:{now:%Y%m%d%H%M}", tags={**range_tags(first, last), **ABOUT_THE_PAST})
        for first, last in contiguous(days)
    ]
    return requests or dg.SkipReason("every closed day that was compared is as the source holds it")
