"""The events behind a figure, and how many of them were within a target: read from the events themselves."""

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from analytics_pipeline.flows.reporting.errors import InvalidSubject, UnknownDimension
from analytics_pipeline.flows.reporting.reads.metrics import ReportMetric, report_dimension, report_metric
from analytics_pipeline.flows.reporting.reads.periods import whole
from analytics_pipeline.flows.reporting.reads.query import ReportQuery
from analytics_pipeline.flows.reporting.reads.reading import Answer
from analytics_pipeline.flows.reporting.reads.reports import Reports
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.names import quoted
from analytics_pipeline.resources.postgres import Postgres
from analytics_pipeline.resources.sql_files import sql_file

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Behind:
    """An event that a figure counts, or a conversation; moments are UTC, values seconds."""

    id: int
    name: str
    created_at: datetime
    value: float | None
    value_in_business_hours: float | None
    inbox_id: int | None
    user_id: int | None
    conversation_id: int | None


@dataclass(frozen=True)
class Share:
    """How many of the events took at most the target. Those without a value are in neither; None: of nothing."""

    metric: str
    target_seconds: float
    within: int
    total: int
    without_value: int
    share: float | None


@dataclass(frozen=True)
class Place:
    """A place in the list, which goes from the newest to the oldest: after the row of this moment and id."""

    created_at: datetime
    id: int


def behind(reports: Reports, query: ReportQuery, metric: str, after: Place | None, limit: int) -> Answer[list[Behind]]:
    """The events that the metric counts in the range, the newest first. A conversation handed off twice counts once.

    Raises:
        UnknownMetric: there is none of that name.
        UnknownDimension: the events do not have that dimension; only their conversations do.
    """
    known = report_metric(metric)
    reading = reports.reading(query)
    if known.rolled is None:
        return Answer(_conversations(reports.postgres, query, after, limit), "raw", (), reading.now)
    return reading.of_events(lambda clickhouse: _events(clickhouse, query, known, after, limit))


def share(reports: Reports, query: ReportQuery, metric: str, target_seconds: float) -> Answer[Share]:
    """How many of the events of a duration took at most so long.

    Raises:
        UnknownMetric: there is none of that name.
        InvalidSubject: the metric is no duration.
        UnknownDimension: the events do not have that dimension; only their conversations do.
    """
    known = report_metric(metric)
    if known.rolled is None or known.aggregate != "average":
        raise InvalidSubject(f"{metric} is no duration, so nothing of it is within a target")
    return reports.reading(query).of_events(lambda clickhouse: _share(clickhouse, query, known, target_seconds))


def _events(
    clickhouse: ClickHouse, query: ReportQuery, metric: ReportMetric, after: Place | None, limit: int
) -> list[Behind]:
    statement = sql_file(
        __package__,
        "behind.sql",
        ONLY=_only(query) + (" AND conversation_id IS NOT NULL" if metric.is_distinct else ""),
        ONCE="conversation_id" if metric.is_distinct else "id",
    )
    at, id_ = ((after.created_at - _EPOCH) // _MICROSECOND, after.id) if after else (2**62, 0)
    rows = clickhouse.query(statement, **_parameters(query, metric), at=at, id=id_, limit=limit)
    return [Behind(*row) for row in rows]


def _share(clickhouse: ClickHouse, query: ReportQuery, metric: ReportMetric, target: float) -> Share:
    value = "value_in_business_hours" if query.business_hours else "value"
    statement = sql_file(__package__, "share.sql", VALUE=value, ONLY=_only(query))
    ((within, total, without),) = clickhouse.query(statement, **_parameters(query, metric), target=target)
    return Share(metric.name, target, within, total, without, within / total if total else None)


def _only(query: ReportQuery) -> str:
    dimension = report_dimension(query.dimension).rolled
    if dimension is None:
        raise UnknownDimension(f"events have no {query.dimension}; only their conversations do")
    column = quoted(dimension.column)
    return f"{column} IS NOT NULL" if query.entity_id is None else f"{column} = {{entity:Int64}}"


def _parameters(query: ReportQuery, metric: ReportMetric) -> dict[str, Any]:
    assert metric.rolled is not None
    span = whole(query)
    return {
        "account": query.account_id,
        "event": metric.rolled.event,
        "entity": query.entity_id or 0,
        "since": (span.since - _EPOCH) // _MICROSECOND,
        "until": (span.until - _EPOCH) // _MICROSECOND,
    }


def _conversations(postgres: Postgres, query: ReportQuery, after: Place | None, limit: int) -> list[Behind]:
    column = report_dimension(query.dimension).conversations
    rows = postgres.query(
        _CONVERSATIONS.replace("[dimension]", column),
        account=query.account_id,
        entity=query.entity_id,
        since=query.since,
        until=query.until,
        at=after and after.created_at,
        id=after and after.id,
        limit=limit,
    )
    return [Behind(id_, "conversation", at, None, None, inbox, user, id_) for id_, at, inbox, user in rows]


_CONVERSATIONS = """
    SELECT id, created_at::timestamptz, inbox_id, assignee_id FROM {conversations}
    WHERE account_id = %(account)s AND created_at >= %(since)s AND created_at < %(until)s
        AND [dimension] IS NOT NULL AND (%(entity)s::bigint IS NULL OR [dimension] = %(entity)s)
        AND (%(at)s::timestamptz IS NULL OR (created_at::timestamptz, id) < (%(at)s, %(id)s::bigint))
    ORDER BY created_at::timestamptz DESC, id DESC LIMIT %(limit)s
"""
