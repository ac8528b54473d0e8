"""Asks each hour for the figures of product events: of the last days, and of older ones that lack something."""

import dagster as dg

from analytics_pipeline.config import Settings
from analytics_pipeline.flows.days import contiguous
from analytics_pipeline.flows.product_events.aggregates.tables import AGGREGATES
from analytics_pipeline.flows.product_events.pending import recent_days, touched_days
from analytics_pipeline.orchestration.partitions import range_tags
from analytics_pipeline.orchestration.run_states import ABOUT_THE_PAST, runs_under_way
from analytics_pipeline.orchestration.ticks import looked_at_stores
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.postgres import Postgres

NAME = "hourly_product_events"


@dg.schedule(
    name=NAME,
    cron_schedule="5 * * * *",
    target=dg.AssetSelection.assets(*(aggregate.name for aggregate in AGGREGATES))
    | dg.AssetSelection.checks_for_assets("analytics_events"),
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Asks, each hour, for the figures of the last three days in one run, and for those of older days that"
    " late events have touched or that are not there any more.",
)
def hourly_product_events(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    """One request for the last three days, and one for each range of older days that lack something.

    A day whose events have expired or were lost is never asked for: its figures are all that is left of them.
    """
    now = context.scheduled_execution_time
    if runs_under_way(context.instance, {"dagster/schedule_name": NAME}):
        return dg.SkipReason("what it asked for before is still under way")

    def look(settings: Settings, store: Postgres, clickhouse: ClickHouse) -> list[tuple[str, dict[str, str]]]:
        start = settings.start_of("product_events")
        older = contiguous(touched_days(store, clickhouse, now, start, settings.event_retention_days))
        first, last = recent_days(now.date(), start)
        recent = [(f"{first}:{last}", range_tags(first, last))] if first <= last else []
        return recent + [(f"{one}:{end}", {**range_tags(one, end), **ABOUT_THE_PAST}) for one, end in older]

    wanted = looked_at_stores("product_events", look)
    if isinstance(wanted, dg.SkipReason):
        return wanted
    requests = [dg.RunRequest(run_key=f"{days}:{now:%Y%m%d%H%M}", tags=tags) for days, tags in wanted]
    return requests or dg.SkipReason("its first day is yet to come")
