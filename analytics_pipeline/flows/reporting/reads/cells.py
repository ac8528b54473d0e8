"""The figures of a report: one ClickHouse statement over rollups and events, others of Postgres over conversations."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, TypeAlias

from typing_extensions import LiteralString

from analytics_pipeline.flows.reporting.errors import NoStates
from analytics_pipeline.flows.reporting.reads.metrics import CONVERSATIONS, Cell, ReportMetric, report_dimension
from analytics_pipeline.flows.reporting.reads.periods import Period
from analytics_pipeline.flows.reporting.reads.plan import Interval, ReadPlan
from analytics_pipeline.flows.reporting.reads.query import ReportQuery
from analytics_pipeline.flows.reporting.registry import REGISTRY
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.names import quoted
from analytics_pipeline.resources.postgres import Postgres
from analytics_pipeline.resources.sql_files import sql_file

# (number of the period, id in the dimension, key of the metric) to what was found; a key without events is absent.
Cells: TypeAlias = dict[tuple[int, int, str], Cell]

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)


def event_cells(clickhouse: ClickHouse, plan: ReadPlan, query: ReportQuery, metrics: Sequence[ReportMetric]) -> Cells:
    """The cells of metrics of events. Distinct counts are merged over days, and with those of the events beside them.

    Raises:
        NoStates: a day's rollup has a distinct count and does not say of what.
    """
    rolled = [metric.rolled for metric in metrics if metric.rolled]
    distinct = [metric.key for metric in metrics if metric.is_distinct]
    parameters: dict[str, Any] = {
        "account": query.account_id,
        "dimension": query.dimension,
        "metrics": [metric.name for metric in rolled],
        "events": [metric.event for metric in rolled],
    }
    if query.entity_id is not None:
        parameters["entity"] = query.entity_id
    parts = []
    if plan.rolled:
        parts.append(_rollup_select(query, _MERGED_DAYS if distinct else _NO_CONVERSATIONS))
        parameters |= {"dates": list(plan.rolled), "date_periods": list(plan.rolled.values())}
    if plan.raw:
        parts.append(_raw_select(query, _COUNTED_EVENTS if distinct else _NO_CONVERSATIONS))
        parameters |= _interval_parameters(plan.raw)
    total = _TOTAL.format(parts=" UNION ALL ".join(parts), conversations=_MERGED if distinct else "0, 0")
    found: Cells = {}
    for period, entity, metric, count, seconds, conversations, of_merged in clickhouse.query(total, **parameters):
        if metric in distinct and of_merged != count:
            raise NoStates
        found[period, entity, metric] = Cell(conversations if metric in distinct else count, seconds)
    return found


def event_cells_by_conversation(
    postgres: Postgres, periods: Sequence[Period], query: ReportQuery, metrics: Sequence[ReportMetric]
) -> Cells:
    """The cells of metrics of events along what their conversations have as they are now.

    ClickHouse holds no conversations, so the source's own events are read.
    """
    value: LiteralString = "value_in_business_hours" if query.business_hours else "value"
    events = {metric.rolled.event for metric in metrics if metric.rolled}
    rows = _by_conversation(postgres, _EVENTS.replace("[value]", value), periods, query, events=sorted(events))
    return {
        (number, entity, metric.key): Cell(conversations if metric.is_distinct else count, seconds)
        for number, entity, event, count, conversations, seconds in rows
        for metric in metrics
        if metric.rolled and metric.rolled.event == event
    }


def conversation_cells(postgres: Postgres, periods: Sequence[Period], query: ReportQuery) -> Cells:
    """How many conversations were created in each of the contiguous periods, as they are now."""
    rows = _by_conversation(postgres, _CONVERSATIONS, periods, query)
    return {(number, entity, CONVERSATIONS.key): Cell(count) for number, entity, count in rows}


def _by_conversation(
    postgres: Postgres, statement: LiteralString, periods: Sequence[Period], query: ReportQuery, **rest: Any
) -> list[tuple[Any, ...]]:
    column = report_dimension(query.dimension).conversations
    return postgres.query(
        statement.replace("[dimension]", column),
        account=query.account_id,
        entity=query.entity_id,
        starts=[period.since for period in periods],
        until=periods[-1].until,
        **rest,
    )


def _rollup_select(query: ReportQuery, conversations: str) -> str:
    seconds = "sum_value_business_hours" if query.business_hours else "sum_value"
    return f"""
        SELECT
            transform(date, {{dates:Array(Date)}}, {{date_periods:Array(Int32)}}, toInt32(-1)) AS period,
            dimension_id AS entity, toString(metric) AS figure, sum(count) AS found, sum({seconds}) AS seconds,
            {conversations}
        FROM reporting_rollups FINAL
        WHERE account_id = {{account:Int64}} AND dimension_type = {{dimension:String}}
            AND metric IN {{metrics:Array(String)}} AND date IN {{dates:Array(Date)}}
            AND {_only("dimension_id", query)}
        GROUP BY period, entity, figure
    """


def _raw_select(query: ReportQuery, conversations: str) -> str:
    column = quoted(REGISTRY.dimension(query.dimension).column)
    value = "value_in_business_hours" if query.business_hours else "value"
    return sql_file(
        __package__,
        "raw_cells.sql",
        COLUMN=column,
        VALUE=value,
        CONVERSATIONS=conversations,
        ONLY=_only(column, query),
    )


def _only(column: str, query: ReportQuery) -> str:
    return "true" if query.entity_id is None else f"{column} = {{entity:Int64}}"


def _interval_parameters(intervals: Sequence[Interval]) -> dict[str, Any]:
    """The intervals as one sorted array of edges and the period that begins at each; -1 where none does."""
    edges: dict[int, int] = {}
    for interval in intervals:
        edges[_microseconds(interval.since)] = interval.period
        edges[_microseconds(interval.until)] = -1
    return {
        "edges": list(edges),
        "edge_periods": list(edges.values()),
        "utc_days": sorted({day for interval in intervals for day in _utc_days(interval)}),
        "since": _microseconds(intervals[0].since),
        "until": _microseconds(intervals[-1].until),
    }


def _utc_days(interval: Interval) -> Iterator[Any]:
    first, last = interval.since.date(), (interval.until - _MICROSECOND).date()
    for number in range((last - first).days + 1):
        yield first + timedelta(days=number)


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


# A part's word on conversations: those that were counted, and how many a day's figures must add up to if they are of
# them. Nothing where no metric is distinct, because states cost time.
_NO_CONVERSATIONS = "0 AS handed, 0 AS of_merged"
_MERGED_DAYS = """
    groupBitmapMergeState(conversations) AS handed, sum(toInt64(bitmapCardinality(conversations))) AS of_merged
"""
_COUNTED_EVENTS = """
    groupBitmapStateIf(reinterpretAsUInt64(assumeNotNull(conversation_id)), conversation_id IS NOT NULL) AS handed,
    found AS of_merged
"""
_MERGED = "toInt64(groupBitmapMerge(handed)), sum(of_merged)"

# A key never has rows in two months, so each month is made final by itself, and side by side.
_TOTAL = """
    SELECT period, entity, figure, sum(found), sum(seconds), {conversations}
    FROM ({parts})
    GROUP BY period, entity, figure
    HAVING sum(found) > 0
    SETTINGS do_not_merge_across_partitions_select_final = 1
"""

# The periods have no gaps, so the number of starts that have passed is the number of the period.
_CONVERSATIONS: LiteralString = """
    SELECT width_bucket(created_at::timestamptz, %(starts)s::timestamptz[]) - 1, [dimension], count(*)
    FROM {conversations}
    WHERE account_id = %(account)s AND created_at >= (%(starts)s::timestamptz[])[1] AND created_at < %(until)s
        AND [dimension] IS NOT NULL AND (%(entity)s::bigint IS NULL OR [dimension] = %(entity)s)
    GROUP BY 1, 2
"""

_EVENTS: LiteralString = """
    SELECT
        width_bucket(event.created_at::timestamptz, %(starts)s::timestamptz[]) - 1,
        conversation.[dimension], event.name,
        count(*), count(DISTINCT conversation.id),
        coalesce(sum(event.[value]::float8) FILTER (WHERE abs(event.[value]::float8) < 'Infinity'), 0)
    FROM {reporting_events} AS event
    INNER JOIN {conversations} AS conversation
        ON conversation.id = event.conversation_id AND conversation.account_id = event.account_id
    WHERE event.account_id = %(account)s AND event.name = ANY(%(events)s)
        AND event.created_at >= (%(starts)s::timestamptz[])[1] AND event.created_at < %(until)s
        AND conversation.[dimension] IS NOT NULL
        AND (%(entity)s::bigint IS NULL OR conversation.[dimension] = %(entity)s)
    GROUP BY 1, 2, 3
"""
