"""The figures of a report that ClickHouse has, and what tells which state of it they are of, in one statement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any, TypeAlias

from analytics_pipeline.flows.reporting.errors import NoStates
from analytics_pipeline.flows.reporting.reads.metrics import Cell, ReportMetric
from analytics_pipeline.flows.reporting.reads.plan import Interval, ReadPlan
from analytics_pipeline.flows.reporting.reads.query import ReportQuery
from analytics_pipeline.flows.reporting.registry import REGISTRY
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.names import quoted
from analytics_pipeline.resources.sql_files import sql_file

# (number of the period, id in the dimension, key of the metric) to what was found; a key without events is absent.
Cells: TypeAlias = dict[tuple[int, int, str], Cell]

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_EPOCH_DAY = _EPOCH.date()
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Found:
    """The state of ClickHouse at one moment: the cells, and what tells the days from other states of them.

    `versions` are those of the local days that were read from the rollups, in milliseconds. `rows` tells how many
    events each UTC day has, of all accounts. A day without any is absent.
    """

    cells: Cells
    versions: Mapping[date, int]
    rows: Mapping[date, int]


def event_cells(clickhouse: ClickHouse, plan: ReadPlan, query: ReportQuery, metrics: Sequence[ReportMetric]) -> Found:
    """The cells of metrics of events. Distinct counts are merged over days, and with those of the events beside them.

    Raises:
        NoStates: a day's rollup has a distinct count and does not say of what.
    """
    distinct = {metric.key for metric in metrics if metric.is_distinct}
    cells: Cells = {}
    states: dict[str, dict[date, int]] = {_VERSIONS: {}, _ROWS: {}}
    statement, parameters = _statement(plan, query, metrics)
    for period, entity, figure, count, seconds, conversations, of_merged, days, found in clickhouse.query(
        statement, **parameters
    ):
        if figure in states:
            states[figure] = dict(zip(days, found, strict=True))
        elif figure in distinct and of_merged != count:
            raise NoStates
        else:
            cells[period, entity, figure] = Cell(conversations if figure in distinct else count, seconds)
    return Found(cells, states[_VERSIONS], states[_ROWS])


def _statement(plan: ReadPlan, query: ReportQuery, metrics: Sequence[ReportMetric]) -> tuple[str, dict[str, Any]]:
    rolled = [metric.rolled for metric in metrics if metric.rolled]
    is_distinct = any(metric.is_distinct for metric in metrics)
    parameters: dict[str, Any] = {
        "account": query.account_id,
        "dimension": query.dimension,
        "metrics": [metric.name for metric in rolled],
        "events": [metric.event for metric in rolled],
    }
    if query.entity_id is not None:
        parameters["entity"] = query.entity_id
    parts, states = [], [_ROWS_SELECT]
    if plan.rolled:
        parts.append(_rollup_select(query, _MERGED_DAYS if is_distinct else _NO_CONVERSATIONS))
        states.append(_VERSIONS_SELECT)
        parameters |= _date_parameters(plan.rolled)
    if plan.raw:
        parts.append(_raw_select(query, _COUNTED_EVENTS if is_distinct else _NO_CONVERSATIONS))
        parameters |= {**_interval_parameters(plan.raw), "utc_days": plan.raw_days}
    conversations = _MERGED if is_distinct else "0 AS handed, 0 AS of_merged"
    figures = _FIGURES.format(parts=" UNION ALL ".join(parts), conversations=conversations)
    return _TOTAL.format(parts=" UNION ALL ".join([figures, *states])), parameters


def _rollup_select(query: ReportQuery, conversations: str) -> str:
    seconds = "sum_value_business_hours" if query.business_hours else "sum_value"
    return f"""
        SELECT
            transform(
                roundDown(toUInt16(date), {_STARTS}), {_STARTS},
                CAST({{start_periods:String}} AS Array(Int32)), toInt32(-1)
            ) AS period,
            dimension_id AS entity, toString(metric) AS figure, sum(count) AS found, sum({seconds}) AS seconds,
            {conversations}
        FROM reporting_rollups FINAL
        WHERE account_id = {{account:Int64}} AND dimension_type = {{dimension:String}}
            AND metric IN {{metrics:Array(String)}} AND {_DATES} AND {_only("dimension_id", query)}
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


def _date_parameters(rolled: Mapping[date, int]) -> dict[str, Any]:
    """The dates, in order, as a range without those that are left out, and where in it each period begins."""
    first, last = min(rolled), max(rolled)
    starts: dict[int, date] = {}
    for day, period in rolled.items():
        starts.setdefault(period, day)
    dates = (first + timedelta(days=number) for number in range((last - first).days + 1))
    return {
        "first": first,
        "last": last,
        "left_out": [day for day in dates if day not in rolled],
        "starts": str([(day - _EPOCH_DAY).days for day in starts.values()]),
        "start_periods": str([*starts]),
    }


def _interval_parameters(intervals: Sequence[Interval]) -> dict[str, Any]:
    """The intervals as one sorted array of edges and the period that begins at each; -1 where none does."""
    edges: dict[int, int] = {}
    for interval in intervals:
        edges[_microseconds(interval.since)] = interval.period
        edges[_microseconds(interval.until)] = -1
    return {
        "edges": str([*edges]),
        "edge_periods": str([*edges.values()]),
        "since": _microseconds(intervals[0].since),
        "until": _microseconds(intervals[-1].until),
    }


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


# Arrays are sent as text: to bind hundreds of numbers one by one takes the client milliseconds.
_STARTS = "CAST({starts:String} AS Array(UInt16))"
_DATES = "date BETWEEN {first:Date} AND {last:Date} AND date NOT IN {left_out:Array(Date)}"

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
_MERGED = "toInt64(groupBitmapMerge(part.handed)) AS handed, sum(part.of_merged) AS of_merged"

_FIGURES = """
    SELECT
        period, entity, figure, sum(part.found) AS found, sum(part.seconds) AS seconds, {conversations},
        CAST([] AS Array(Date)) AS days, CAST([] AS Array(Int64)) AS states
    FROM ({parts}) AS part
    GROUP BY period, entity, figure
    HAVING found > 0
"""

_VERSIONS, _ROWS = "versions", "rows"
_STATES = "SELECT 0, 0, '{kind}', 0, 0, 0, 0, groupArray(day), groupArray(state) FROM ({states})"
_VERSIONS_SELECT = _STATES.format(
    kind=_VERSIONS,
    states=f"""
        SELECT date AS day, toUnixTimestamp64Milli(max(computed_at)) AS state FROM reporting_rollups
        WHERE {_DATES} GROUP BY day
    """,
)
# Without a condition ClickHouse answers from what it knows of its parts.
_ROWS_SELECT = _STATES.format(
    kind=_ROWS, states="SELECT toDate(created_at) AS day, toInt64(count()) AS state FROM reporting_events GROUP BY day"
)

# A key never has rows in two months, so each month is made final by itself, and side by side. What is asked of a table
# twice is asked of the same parts: the versions are those of the figures.
_TOTAL = """
    SELECT period, entity, figure, found, seconds, handed, of_merged, days, states
    FROM ({parts})
    SETTINGS do_not_merge_across_partitions_select_final = 1, enable_shared_storage_snapshot_in_query = 1
"""
