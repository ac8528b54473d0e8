"""Requests for days that lack something: ranges of neighbours, the newest first, the past behind today."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta, timezone
from itertools import islice

import dagster as dg

from analytics_pipeline.flows.days import contiguous
from analytics_pipeline.orchestration.partitions import range_tags
from analytics_pipeline.orchestration.run_states import ABOUT_THE_PAST, may_be_asked_again, runs_under_way

RANGES_PER_TICK = 10
NOTHING = "ClickHouse holds what the source does, or a run for the rest is under way, or pauses after failures"
FOLLOWS = "analytics_pipeline/follows"


def requests_of_days(
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
