"""Reports of an account: figures, series, summaries, and the events behind them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from datetime import timezone as zones
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from pydantic import AwareDatetime

from analytics_pipeline.api.access import Account, Id
from analytics_pipeline.api.answers import Figure, Listing, Told, figure, listing
from analytics_pipeline.api.paging import Paged, cut
from analytics_pipeline.api.stores import Stores
from analytics_pipeline.flows.reporting.reads.metrics import REPORT_DIMENSIONS, REPORT_METRICS
from analytics_pipeline.flows.reporting.reads.periods import GroupBy
from analytics_pipeline.flows.reporting.reads.query import ReportQuery
from analytics_pipeline.flows.reporting.reads.reading import Answer
from analytics_pipeline.flows.reporting.reads.reports import Comparison, Point, Reports

ROUTER = APIRouter(tags=["reporting"], prefix="/accounts/{account}")

MetricName = Annotated[
    str,
    Path(description="The metric.", examples=["resolutions_count"], json_schema_extra={"enum": [*REPORT_METRICS]}),
]
Since = Annotated[AwareDatetime, Query(description="Inclusive, with its zone.", examples=["2026-11-01T00:00:00Z"])]
Until = Annotated[AwareDatetime, Query(description="Exclusive, with its zone.", examples=["2026-11-08T00:00:00Z"])]


def _query(
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


Asked = Annotated[ReportQuery, Depends(_query)]


@dataclass(frozen=True)
class Value:
    """A figure over the whole range: a count, or an average in seconds; null when there is nothing to average."""

    metric: str
    value: int | float | None


@dataclass(frozen=True)
class PointRow:
    """A period's figure. Of averages, `count` is how many events it is of; an average of nothing is null."""

    period: datetime
    value: int | float | None
    count: int | None


@dataclass(frozen=True)
class Compared:
    """A figure of the range and of the same time just before it."""

    metric: str
    current: int | float | None
    previous: int | float | None


def _reports(stores: Stores) -> Reports:
    return Reports(stores.clickhouse, stores.postgres, stores.flags)


def told_of(answer: Answer[Any]) -> Told:
    return Told(answer.source, answer.as_of, answer.missing)


@figure(ROUTER, "/reports/{metric}", Value, {"metric": "resolutions_count", "value": 42})
def report(stores: Account, metric: MetricName, query: Asked) -> Figure[Value]:
    """A metric over the whole range."""
    found = _reports(stores).aggregate(query, metric)
    return Figure(Value(metric, found.value), told_of(found))


@listing(
    ROUTER, "/reports/{metric}/timeseries", PointRow, {"period": "2026-11-01T00:00:00Z", "value": 7, "count": None}
)
def time_series(
    stores: Account,
    metric: MetricName,
    query: Asked,
    page: Paged,
    group_by: Annotated[GroupBy, Query(description="The periods; weeks begin on Sunday.", examples=["day"])] = "day",
) -> Listing[PointRow]:
    """A metric in each period that overlaps the range, also the empty ones."""
    found = _reports(stores).timeseries(query, metric, group_by)
    rows = [_point(point) for point in found.value]
    return Listing(cut(rows, page, lambda row: (row.period,), tuple[datetime]), told_of(found))


@listing(ROUTER, "/overview", Compared, {"metric": "resolutions_count", "current": 42, "previous": 40})
def overview(stores: Account, query: Asked, page: Paged) -> Listing[Compared]:
    """All figures but the bots', beside those of the same time just before."""
    return _comparison(_reports(stores).overview(query), page)


@listing(ROUTER, "/bot-summary", Compared, {"metric": "bot_handoffs_count", "current": 4, "previous": 5})
def bot_summary(stores: Account, query: Asked, page: Paged) -> Listing[Compared]:
    """Resolutions and handoffs of bots, beside those of the same time just before."""
    return _comparison(_reports(stores).bot_summary(query), page)


def _comparison(found: Answer[Comparison], page: Paged) -> Listing[Compared]:
    now, before = found.value.current, found.value.previous
    rows = [Compared(metric, now[metric], before[metric]) for metric in sorted(now)]
    return Listing(cut(rows, page, lambda row: (row.metric,), tuple[str]), told_of(found))


def _point(point: Point) -> PointRow:
    moment = datetime.fromtimestamp(point.timestamp, zones.utc)
    # The product draws an average of nothing as 0; here it is unknown.
    return PointRow(moment, None if point.count == 0 else point.value, point.count)
