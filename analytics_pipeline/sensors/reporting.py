"""Follows reporting's source: copies days whose events changed again, and computes the dates that depend on them."""

from datetime import datetime, timezone

import dagster as dg

from analytics_pipeline.flows.reporting.pending import live
from analytics_pipeline.orchestration.requests import NOTHING, requests_of_days
from analytics_pipeline.orchestration.ticks import looked_at_stores


@dg.sensor(
    target=dg.AssetSelection.assets("reporting_events", "reporting_rollups"),
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Looks every ten seconds for days whose reporting events have changed, has them copied again, and then"
    " has the dates that depend on them rolled up again.",
)
def reporting_late_rows(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Asks for exactly the days whose events have changed, today's as well as old ones, and then for their rollups.

    Rows are found by when they changed; the watermark never passes one that may still commit. What a copy holds is
    compared with the source, and what ClickHouse holds with the ledger, so a lost tick, cursor or partition loses
    nothing.
    """
    now = datetime.now(timezone.utc)
    pending = looked_at_stores(
        "reporting",
        lambda settings, store, clickhouse: live(store, clickhouse, now, settings.start_of("reporting")),
    )
    if isinstance(pending, dg.SkipReason):
        return pending
    requests = [
        *requests_of_days(context, ["reporting_events"], pending.copies),
        *requests_of_days(context, ["reporting_rollups"], pending.rollups),
    ]
    if not requests:
        return dg.SkipReason(NOTHING)
    return dg.SensorResult(run_requests=requests)
