"""Level-triggered: each tick asks for what the ledgers say is missing, so a missed tick loses nothing."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from hashlib import sha256

import dagster as dg

from analytics_pipeline.config import Settings
from analytics_pipeline.flows.identities.open_days import is_open
from analytics_pipeline.flows.segments.current import LeftOver, left_over
from analytics_pipeline.flows.segments.pending import Pending, Stores, pending
from analytics_pipeline.flows.tenants import Tenants, enabled_tenants
from analytics_pipeline.orchestration.run_states import LONG_PAUSES, may_be_asked_again, runs_under_way
from analytics_pipeline.orchestration.ticks import LOOK_BACK, looked_at_stores
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.dynamodb import identities_table
from analytics_pipeline.resources.feature_flags import feature_flags
from analytics_pipeline.resources.landing import landing_zone
from analytics_pipeline.resources.postgres import Postgres

GRAPH = ("raw_identities", "identity_snapshots", "segment_counts")
NOTHING = "nothing is missing that can still be had, or a run for it is under way, or pauses after failures"
# What a run is to load and count: the same pauses after runs that brought nothing.
ASKED = "analytics_pipeline/asked"


@dg.schedule(
    cron_schedule="15 * * * *",
    target=dg.AssetSelection.assets(*GRAPH),
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Asks, each hour, for the captures, loads and counts that today and the last seven closed days lack and"
    " that can still be had, and for the removal of current counts of projects that are not counted any more.",
)
def segments_closed_days(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    """One request for each day that lacks something, the newest first.

    The day that has just closed is captured, loaded and counted while `IDENTITY_CAPTURE_GRACE_HOURS` last. What was
    loaded and is not in ClickHouse any more is loaded again from the landing zone, or captured again while that is
    possible; what is loaded but not counted, or whose counts are not in ClickHouse any more, is counted. Of today only
    what was begun is brought to its end. A day that is complete, or has a run under way, is left alone. When none of
    these runs is about all projects, one more removes the current counts of those that are not counted any more. What
    failed several times in a row, as the load of a capture whose bytes are wrong does, is asked for with long pauses.
    """
    now = context.scheduled_execution_time
    found = looked_at_stores("segments", partial(_pending, now))
    if isinstance(found, dg.SkipReason):
        return found
    tenants, gaps, left = found
    lost = _told([gap for gap in gaps if gap.lost])
    if lost:
        context.log.warning(lost)
    requests = [_request(gap, now, tenants) for gap in gaps if gap.to_count]
    if left and all("segment_counts" in _narrowed(request) for request in requests):
        requests.append(_removal(left, now))
    wanted = [request for request in requests if _may_follow(context.instance, request, now)]
    return wanted or dg.SkipReason("; ".join(text for text in (NOTHING, lost) if text))


def _pending(
    now: datetime, settings: Settings, store: Postgres, clickhouse: ClickHouse
) -> tuple[Tenants, list[Pending], LeftOver | None]:
    identities_table(settings)
    landing = landing_zone(settings)
    tenants = enabled_tenants(store, feature_flags(settings, store))
    today = now.date()
    # An expired snapshot must not be loaded only to expire again.
    back = min(LOOK_BACK, timedelta(days=max(1, settings.identity_snapshot_retention_days - 1)))
    first = max(today - back, settings.start_of("segments"))
    days = [today - timedelta(days=number) for number in range((today - first).days + 1)]
    open_days = [day for day in days if is_open(day, settings, now)]
    gaps = pending(Stores(store, clickhouse, landing), tenants, days, today, open_days)
    return tenants, gaps, left_over(store, tenants, today)


def _told(gaps: Sequence[Pending]) -> str:
    """A sentence about the snapshots that can never be had again; empty when there is none."""
    if not gaps:
        return ""
    days = ", ".join(f"{gap.day} ({len(gap.lost)} environments)" for gap in gaps)
    return (
        f"snapshots that ClickHouse has lost and the landing zone does not keep cannot be had again: {days}; their"
        " counts of before stay"
    )


def _request(gap: Pending, now: datetime, tenants: Tenants) -> dg.RunRequest:
    """A run for just these projects, so that nothing that is complete is captured or counted again.

    When they are all there are, the run is not narrowed: only such a run also removes what has gone from the source.
    """
    projects = dict(zip(GRAPH, (gap.to_capture, gap.to_load, gap.to_count), strict=True))
    everything = {project.id for project in tenants.projects if project.environments}
    wanted = {asset: ids for asset, ids in projects.items() if ids}
    narrowed = {asset: sorted(ids) for asset, ids in wanted.items() if ids != everything}
    return dg.RunRequest(
        # The tick is part of the key: a day that failed is asked for again.
        run_key=f"{gap.day}:{now:%Y%m%d%H%M}",
        tags=_asked(gap),
        partition_key=gap.day.isoformat(),
        asset_selection=[dg.AssetKey(asset) for asset in wanted],
        run_config={"ops": {asset: {"config": {"projects": ids}} for asset, ids in narrowed.items()}},
    )


def _narrowed(request: dg.RunRequest) -> set[str]:
    """The assets whose run is not about all projects."""
    return set(request.run_config["ops"])


def _removal(left: LeftOver, now: datetime) -> dg.RunRequest:
    """A run that counts nothing anew where it can be narrowed: it removes what is left over."""
    config = {} if left.projects is None else {"segment_counts": {"config": {"projects": list(left.projects)}}}
    return dg.RunRequest(
        run_key=f"left-over:{left.day}:{now:%Y%m%d%H%M}",
        partition_key=left.day.isoformat(),
        asset_selection=[dg.AssetKey("segment_counts")],
        run_config={"ops": config},
    )


def _asked(gap: Pending) -> dict[str, str]:
    """Tags that are the same for the same day, steps and projects; none for a capture, for which there are hours."""
    what = f"{gap.day}:{sorted(gap.to_load)}:{sorted(gap.to_count)}"
    return {} if gap.to_capture else {ASKED: sha256(what.encode()).hexdigest()[:32]}


def _may_follow(instance: dg.DagsterInstance, request: dg.RunRequest, now: datetime) -> bool:
    """Whether no such run is under way, nor has to wait because the last ones brought nothing."""
    tags = {"dagster/partition": str(request.partition_key), "dagster/schedule_name": "segments_closed_days"}
    if runs_under_way(instance, tags):
        return False
    asked = {key: value for key, value in request.tags.items() if key == ASKED}
    return not asked or may_be_asked_again(instance, asked, now, LONG_PAUSES)
