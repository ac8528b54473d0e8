"""Follows the source: days whose events changed are copied again, and the dates that depend on them computed again."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta, timezone
from itertools import islice

import dagster as dg

from analytics_pipeline.flows.ai_usage.sync import pending_days
from analytics_pipeline.flows.daily_copy.source import contiguous
from analytics_pipeline.flows.enablement.features import AI_USAGE
from analytics_pipeline.flows.reporting.pending import live
from analytics_pipeline.partitions import range_tags
from analytics_pipeline.resources.postgres import postgres
from analytics_pipeline.run_states import ABOUT_THE_PAST, may_be_asked_again, runs_under_way
from analytics_pipeline.ticks import looked

RANGES_PER_TICK = 10
_NOTHING = "ClickHouse holds what the source does, or a run for the rest is under way, or pauses after failures"
FOLLOWS = "analytics_pipeline/follows"


@dg.sensor(
    target=dg.AssetSelection.assets("reporting_events", "reporting_rollups"),
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def reporting_late_rows(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Asks for exactly the days whose events have changed, today's as well as old ones, and then for their rollups.

    Rows are found by when they changed; the watermark never passes one that may still commit. What a copy holds is
    compared with the source, so a lost tick or cursor loses nothing.
    """
    now = datetime.now(timezone.utc)
    pending = looked(lambda settings: live(postgres(settings), now, settings.analytics_start_date))
    if isinstance(pending, dg.SkipReason):
        return pending
    requests = [
        *_requests(context, ["reporting_events"], pending.copies),
        *_requests(context, ["reporting_rollups"], pending.rollups),
    ]
    if not requests:
        return dg.SkipReason(_NOTHING)
    return dg.SensorResult(run_requests=requests)


@dg.sensor(
    target=dg.AssetSelection.assets(*AI_USAGE.assets),
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def ai_usage_late_rows(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Asks for exactly the days whose AI events have changed or were not counted, while the feature is switched on.

    Stops when it is switched off; what is written meanwhile is found when it is on again, because the watermark stays.
    """
    today = datetime.now(timezone.utc).date()
    days = looked(lambda settings: pending_days(postgres(settings), today, settings.analytics_start_date))
    if isinstance(days, dg.SkipReason):
        return days
    if days is None:
        return dg.SkipReason("AI usage is switched off, or its history is still being brought in")
    requests = list(_requests(context, AI_USAGE.assets, days))
    if not requests:
        return dg.SkipReason(_NOTHING)
    return dg.SensorResult(run_requests=requests)


def _requests(
    context: dg.SensorEvaluationContext, assets: Sequence[str], days: Sequence[date]
) -> Iterator[dg.RunRequest]:
    """One run for each range of neighbouring days, the newest first: today's apart from those of the past.

    While one of the same kind is under way, none is added to its queue. Of the past only so many at a time, and behind
    what is about today: a burst of late rows all over it, or rollups of years, must not keep today's figures waiting.
    """
    yesterday = datetime.now(timezone.utc).date() - timedelta(days=1)
    current = [day for day in days if day >= yesterday]
    past = [day for day in days if day < yesterday]
    yield from _of_a_kind(context.instance, assets, current, {FOLLOWS: assets[-1]})
    yield from _of_a_kind(context.instance, assets, past, {FOLLOWS: f"{assets[-1]} of the past", **ABOUT_THE_PAST})


def _of_a_kind(
    instance: dg.DagsterInstance, assets: Sequence[str], days: Sequence[date], kind: Mapping[str, str]
) -> Iterator[dg.RunRequest]:
    """Without run keys: what is still needed when no run for it is under way has to be asked for again."""
    if not days or runs_under_way(instance, kind):
        return
    now = datetime.now(timezone.utc)
    wanted = ({**range_tags(first, last), **kind} for first, last in reversed(contiguous(days)))
    due = (tags for tags in wanted if may_be_asked_again(instance, tags, now))
    for tags in islice(due, RANGES_PER_TICK):
        yield dg.RunRequest(asset_selection=[dg.AssetKey(asset) for asset in assets], tags=tags)
