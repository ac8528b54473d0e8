"""Follows the AI events: days whose events changed or were not counted are brought in again."""

from datetime import datetime, timezone

import dagster as dg

from analytics_pipeline.flows.ai_usage.feature import AI_USAGE
from analytics_pipeline.flows.ai_usage.pending import pending_days
from analytics_pipeline.orchestration.requests import NOTHING, requests_of_days
from analytics_pipeline.orchestration.ticks import looked_at_stores


@dg.sensor(
    target=dg.AssetSelection.assets(*AI_USAGE.assets),
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Looks every 30 seconds for days whose AI events have changed or were not counted, while AI usage is"
    " switched on, and has them copied and counted again.",
)
def ai_usage_late_rows(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Asks for exactly the days whose AI events have changed or were not counted, while the feature is switched on.

    Stops when it is switched off; what is written meanwhile is found when it is on again, because the watermark stays.
    """
    today = datetime.now(timezone.utc).date()
    days = looked_at_stores(
        "ai_usage",
        lambda settings, store, clickhouse: pending_days(store, clickhouse, today, settings.start_of("ai_usage")),
    )
    if isinstance(days, dg.SkipReason):
        return days
    if isinstance(days, str):
        return dg.SkipReason(days)
    requests = list(requests_of_days(context, AI_USAGE.assets, days))
    if not requests:
        return dg.SkipReason(NOTHING)
    return dg.SensorResult(run_requests=requests)
