"""Reports of an account: figures, series, summaries, and the events behind them."""

from dataclasses import replace
from datetime import datetime, timedelta
from datetime import timezone as zones
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from pydantic import AwareDatetime

from analytics_pipeline.api.access import Account, Id
from analytics_pipeline.api.answers import Figure, Listing, Told, figure, listing
from analytics_pipeline.api.paging import Paged, cut, taken
from analytics_pipeline.api.routes.reporting_rows import Compared, PointRow, SummaryRow, Value
from analytics_pipeline.api.stores import Stores
from analytics_pipeline.flows.reporting.reads.events import Behind, Place, Share, behind, share
from analytics_pipeline.flows.reporting.reads.metrics import BOT_SUMMARY, REPORT_DIMENSIONS, REPORT_METRICS
from analytics_pipeline.flows.reporting.reads.periods import GroupBy
from analytics_pipeline.flows.reporting.reads.query import ReportQuery
from analytics_pipeline.flows.reporting.reads.reading import Answer
from analytics_pipeline.flows.reporting.reads.reports import Comparison, Point, Reports
from analytics_pipeline.flows.reporting.reads.unknown import REASON, is_unknown, known_comparison, known_points
from analytics_pipeline.flows.reporting.reads.version import version

ROUTER = APIRouter(tags=["reporting"], prefix="/accounts/{account}")

MetricName = Annotated[
    str,
    Path(description="The metric.", examples=["resolutions_count"], json_schema_extra={"enum": [*REPORT_METRICS]}),
]
Since = Annotated[AwareDatetime, Query(description="Inclusive, with its zone.", examples=["2026-11-01T00:00:00Z"])]
Until = Annotated[AwareDatetime, Query(description="Exclusive, with its zone.", examples=["2026-11-08T00:00:00Z"])]


async def _query(
    account: Id,
    since: Since,
    until: Until,
    dimension: Annotated[
        str, Query(description="Along what.", examples=["agent"], json_schema_extra={"enum": [*REPORT_DIMENSIONS]})
    ] = "account",
    entity: Annotated[
        int | None, Query(alias="id", ge=0, le=2**63 - 1, description="One agent, inbox or team.", examples=[3])
    ] = None,
    timezone: Annotated[
        str | None,
        Query(max_length=60, description="Zone of the days; without it the account's.", examples=["Europe/Berlin"]),
    ] = None,
    timezone_offset: Annotated[
        float | None, Query(ge=-12, le=14, description="The same as hours from UTC.", examples=[1.0])
    ] = None,
    business_hours: Annotated[bool, Query(description="Whether durations are of business hours.")] = False,
) -> ReportQuery:
    zone = timezone if timezone_offset is None else timedelta(minutes=round(timezone_offset * 60))
    return ReportQuery(account, since, until, dimension, entity, zone, business_hours)


_BOTS = tuple(metric.name for metric in BOT_SUMMARY)
_EARLIEST = datetime(1990, 1, 1, tzinfo=zones.utc)

Asked = Annotated[ReportQuery, Depends(_query)]


def _reports(stores: Stores) -> Reports:
    return Reports(stores.clickhouse, stores.postgres, stores.flags)


def told_of(answer: Answer[Any]) -> Told:
    return Told(answer.source, answer.as_of, answer.missing)


def _version(stores: Stores, metric: str, query: ReportQuery) -> str | None:
    return version(stores.postgres, stores.flags, query, metric)


def _version_of_bots(stores: Stores, query: ReportQuery) -> str | None:
    return version(stores.postgres, stores.flags, replace(query, since=_earlier(query)), *_BOTS)


def _earlier(query: ReportQuery) -> datetime:
    """Where the previous period begins."""
    return max(query.since - (query.until - query.since), _EARLIEST)


@figure(ROUTER, "/reports/{metric}", Value, {"metric": "resolutions_count", "value": 42}, version=_version)
def report(stores: Account, metric: MetricName, query: Asked) -> Figure[Value]:
    """A metric over the whole range."""
    found = _reports(stores).aggregate(query, metric)
    if is_unknown(found.value, found, query.since, query.until):
        return Figure(Value(metric, None), replace(told_of(found), reason=REASON))
    return Figure(Value(metric, found.value), told_of(found))


_POINT = {"period": "2026-11-01T00:00:00Z", "value": 7, "count": None}


@listing(ROUTER, "/reports/{metric}/timeseries", PointRow, _POINT, version=_version)
def time_series(
    stores: Account,
    metric: MetricName,
    query: Asked,
    page: Paged,
    group_by: Annotated[GroupBy, Query(description="The periods; weeks begin on Sunday.", examples=["day"])] = "day",
) -> Listing[PointRow]:
    """A metric in each period that overlaps the range, also the empty ones."""
    found = _reports(stores).timeseries(query, metric, group_by)
    rows = [_point(point) for point in known_points(found, query)]
    return Listing(cut(rows, page, lambda row: (row.period,), tuple[datetime]), told_of(found))


@listing(ROUTER, "/overview", Compared, {"metric": "resolutions_count", "current": 42, "previous": 40})
def overview(stores: Account, query: Asked, page: Paged) -> Listing[Compared]:
    """All figures but the bots', beside those of the same time just before."""
    return _comparison(_reports(stores).overview(query), query, page)


_BOT = {"metric": "bot_handoffs_count", "current": 4, "previous": 5}


@listing(ROUTER, "/bot-summary", Compared, _BOT, version=_version_of_bots)
def bot_summary(stores: Account, query: Asked, page: Paged) -> Listing[Compared]:
    """Resolutions and handoffs of bots, beside those of the same time just before."""
    return _comparison(_reports(stores).bot_summary(query), query, page)


def _comparison(found: Answer[Comparison], query: ReportQuery, page: Paged) -> Listing[Compared]:
    known = known_comparison(found, query)
    rows = [Compared(metric, known.current[metric], known.previous[metric]) for metric in sorted(known.current)]
    return Listing(cut(rows, page, lambda row: (row.metric,), tuple[str]), told_of(found))


def _point(point: Point) -> PointRow:
    return PointRow(datetime.fromtimestamp(point.timestamp, zones.utc), point.value, point.count)


_SUMMARY = {
    "id": 3,
    "conversations_count": 20,
    "resolved_conversations_count": 18,
    "avg_resolution_time": 3600.0,
    "avg_first_response_time": 120.0,
    "avg_reply_time": 240.0,
    "previous_conversations_count": 22,
    "previous_resolved_conversations_count": 20,
    "previous_avg_resolution_time": 3500.0,
    "previous_avg_first_response_time": 110.0,
    "previous_avg_reply_time": None,
}


@listing(ROUTER, "/summary", SummaryRow, _SUMMARY)
def summary(stores: Account, query: Asked, page: Paged) -> Listing[SummaryRow]:
    """All figures along the dimension, one row for each agent, inbox or team, beside those of the time before."""
    found = _reports(stores).compared_summary(query)
    rows = [_summary_row(entity, known_comparison(found.of(one), query)) for entity, one in found.value.items()]
    return Listing(cut(rows, page, lambda row: (row.id,), tuple[int]), told_of(found))


def _summary_row(entity: int, known: Comparison) -> SummaryRow:
    figures: dict[str, Any] = {**known.current, **{f"previous_{name}": value for name, value in known.previous.items()}}
    return SummaryRow(entity, **figures)


_BEHIND = {
    "id": 900,
    "name": "conversation_resolved",
    "created_at": "2026-11-03T10:00:00Z",
    "value": 3600.0,
    "value_in_business_hours": 1800.0,
    "inbox_id": 2,
    "user_id": 3,
    "conversation_id": 77,
}


@listing(ROUTER, "/reports/{metric}/events", Behind, _BEHIND)
def events_behind(stores: Account, metric: MetricName, query: Asked, page: Paged) -> Listing[Behind]:
    """The events, or conversations, that a figure counts: those of one cell where the range is one period's."""
    after = page.after(tuple[datetime, int])
    found = behind(_reports(stores), query, metric, Place(*after) if after else None, page.limit + 1)
    return Listing(taken(found.value, page, lambda row: (row.created_at, row.id)), told_of(found))


_SHARE = {
    "metric": "avg_first_response_time",
    "target_seconds": 3600.0,
    "within": 45,
    "total": 50,
    "without_value": 1,
    "share": 0.9,
}


@figure(ROUTER, "/reports/{metric}/share", Share, _SHARE, version=_version)
def share_within_target(
    stores: Account,
    metric: MetricName,
    query: Asked,
    target_seconds: Annotated[float, Query(ge=0, le=1e12, description="The target.", examples=[3600.0])],
) -> Figure[Share]:
    """How many events of a duration took at most the target (SLA)."""
    found = share(_reports(stores), query, metric, target_seconds)
    return Figure(found.value, told_of(found))
