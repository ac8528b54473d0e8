"""Asks for what reporting lacks: copies and rollups of closed days, and whether changes are followed."""

import dagster as dg

from analytics_pipeline.config import Settings
from analytics_pipeline.flows.days import contiguous
from analytics_pipeline.flows.reporting.accounts import accounts
from analytics_pipeline.flows.reporting.pending import Pending, closed
from analytics_pipeline.orchestration.partitions import range_tags
from analytics_pipeline.orchestration.run_states import ABOUT_THE_PAST, runs_under_way
from analytics_pipeline.orchestration.ticks import LOOK_BACK, looked, looked_at_stores
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.postgres import Postgres, postgres


@dg.schedule(
    cron_schedule="25 * * * *",
    target=dg.AssetSelection.assets("reporting_events", "reporting_rollups"),
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Asks, each hour, for the copies and rollups that the last seven closed days lack, and for older days"
    " that are no longer what the source holds.",
)
def reporting_closed_days(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    """One request for each range of days that lack a copy, and of dates that lack a rollup.

    A day is copied once more after it has ended. Dates that wait for a copy are asked for when that has landed. Older
    days have their turn once a week: those that are no longer what the source holds are copied again.
    """
    now = context.scheduled_execution_time
    if runs_under_way(context.instance, {"dagster/schedule_name": "reporting_closed_days"}):
        return dg.SkipReason("what it asked for before is still under way")

    def look(settings: Settings, store: Postgres, clickhouse: ClickHouse) -> Pending:
        first = max(now.date() - LOOK_BACK, settings.start_of("reporting"))
        return closed(store, clickhouse, now, first, settings.start_of("reporting"))

    pending = looked_at_stores("reporting", look)
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
    cron_schedule="*/15 * * * *",
    target=dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey("reporting_events"), "changes_are_followed")),
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Evaluates the check changes_are_followed each quarter of an hour, also while nothing is copied.",
)
def reporting_lag() -> dg.RunRequest | dg.SkipReason:
    """A run of the check alone. With a copy the check runs anyway, but a sensor that is stuck asks for no copy."""
    zoned = looked(lambda settings: accounts(postgres(settings)).zoned)
    if isinstance(zoned, dg.SkipReason):
        return zoned
    return dg.RunRequest() if zoned else dg.SkipReason("no account has a reporting time zone, so nothing is followed")
