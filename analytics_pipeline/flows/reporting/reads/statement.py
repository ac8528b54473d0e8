"""The statement that reads a report's cells: rollups, the events beside them, and the state that each is of.

What holds for every row is not asked, and numbers that add up are added by who reads them: to plan a condition or a
further level takes ClickHouse as long as to read some of the months.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any

from analytics_pipeline.flows.reporting.reads.metrics import ReportMetric
from analytics_pipeline.flows.reporting.reads.plan import Interval, ReadPlan
from analytics_pipeline.flows.reporting.reads.query import ReportQuery
from analytics_pipeline.flows.reporting.registry import REGISTRY
from analytics_pipeline.resources.clickhouse.names import quoted
from analytics_pipeline.resources.sql_files import sql_file

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
EPOCH_ORDINAL = _EPOCH.toordinal()
_MICROSECOND = timedelta(microseconds=1)
# The first column tells what a row is of.
ROLLUPS, EVENTS, VERSIONS, ROWS = "rollups", "events", "versions", "rows"


@dataclass(frozen=True)
class _Part:
    """A part of the moments in SQL: the period that a row belongs to, and the condition that it is of this part."""

    period: str
    condition: str
    parameters: Mapping[str, Any]


def statement_of(plan: ReadPlan, query: ReportQuery, metrics: Sequence[ReportMetric]) -> tuple[str, dict[str, Any]]:
    """The statement and its parameters. Its rows: what it is of, the number of the period, the id, the name of the
    figure, the count, seconds, distinct conversations and the count that they are of. `VERSIONS` and `ROWS` have a
    day in the place of the id and its state in that of the count."""
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
        dates = _dates(plan.rolled)
        parts.append(_rollup_select(query, dates, _MERGED_DAYS if is_distinct else _NO_CONVERSATIONS))
        states.append(_VERSIONS_SELECT.format(dates=dates.condition))
        parameters |= dates.parameters
    if plan.raw:
        moments = _moments(plan.raw, plan.raw_days)
        parts.append(_raw_select(query, moments, is_distinct=is_distinct))
        parameters |= moments.parameters
    # Numbers of both parts add up as they are read; distinct counts have to be merged in the store.
    figures = [_MERGED.format(parts=_UNION.join(parts))] if is_distinct else parts
    return _UNION.join([*figures, *states]), parameters


def _rollup_select(query: ReportQuery, dates: _Part, conversations: str) -> str:
    seconds = "sum_value_business_hours" if query.business_hours else "sum_value"
    return f"""
        SELECT
            '{ROLLUPS}' AS part, {dates.period} AS period,
            dimension_id AS entity, toString(metric) AS figure, sum(count) AS found, sum({seconds}) AS seconds,
            {conversations}
        FROM reporting_rollups FINAL
        WHERE account_id = {{account:Int64}} AND dimension_type = {{dimension:String}}
            AND metric IN {{metrics:Array(String)}} AND {dates.condition} AND {_only("dimension_id", query)}
        GROUP BY period, entity, figure
    """


def _raw_select(query: ReportQuery, moments: _Part, *, is_distinct: bool) -> str:
    return sql_file(
        __package__,
        "raw_cells.sql",
        PART=f"'{EVENTS}'",
        COLUMN=quoted(REGISTRY.dimension(query.dimension).column),
        VALUE="value_in_business_hours" if query.business_hours else "value",
        PERIOD=moments.period,
        MOMENTS=moments.condition,
        FIGURE=_METRICS_OF_EVENT if is_distinct else "toString(name)",
        CONVERSATIONS=_COUNTED_EVENTS if is_distinct else _NO_CONVERSATIONS,
        ONLY=_only(quoted(REGISTRY.dimension(query.dimension).column), query),
    )


def _only(column: str, query: ReportQuery) -> str:
    return "true" if query.entity_id is None else f"{column} = {{entity:Int64}}"


def _dates(rolled: Mapping[date, int]) -> _Part:
    """The dates, in order, as a range without those that are left out, and where in it each period begins."""
    first, last = min(rolled), max(rolled)
    starts: dict[int, date] = {}
    for day, period in rolled.items():
        starts.setdefault(period, day)
    condition = "date BETWEEN {first:Date} AND {last:Date}"
    parameters: dict[str, Any] = {"first": first, "last": last}
    if len(rolled) <= (last - first).days:
        dates = (first + timedelta(days=number) for number in range((last - first).days))
        condition += " AND date NOT IN {left_out:Array(Date)}"
        parameters |= {"left_out": [day for day in dates if day not in rolled]}
    periods = {day.toordinal() - EPOCH_ORDINAL: period for period, day in starts.items()}
    return _cut("toUInt16(date)", "UInt16", "start", periods, condition, parameters)


def _moments(intervals: Sequence[Interval], days: Sequence[date]) -> _Part:
    """The intervals as one range with sorted edges and the period that begins at each; -1 where none does."""
    edges: dict[int, int] = {}
    for interval in intervals:
        edges[_microseconds(interval.since)] = interval.period
        edges[_microseconds(interval.until)] = -1
    since, *_, until = edges
    # Nothing is as late as the last edge.
    del edges[until]
    condition = "true"
    parameters: dict[str, Any] = {"since": since, "until": until}
    if -1 in edges.values():
        # A day's partition is found by its date, not by the moments, which are those of many intervals.
        condition = "toDate(created_at) IN {utc_days:Array(Date)} AND period >= 0"
        parameters |= {"utc_days": days}
    return _cut("toUnixTimestamp64Micro(created_at)", "Int64", "edge", edges, condition, parameters)


def _cut(
    moment: str, kind: str, name: str, starts: Mapping[int, int], condition: str, parameters: Mapping[str, Any]
) -> _Part:
    """The period is that of the last start at or before the moment. Arrays are sent as text: to bind hundreds of
    numbers one by one takes the client milliseconds."""
    if len(starts) == 1:
        (period,) = starts.values()
        return _Part(f"toInt32({period})", condition, parameters)
    array = f"CAST({{{name}s:String}} AS Array({kind}))"
    periods = f"CAST({{{name}_periods:String}} AS Array(Int32))"
    found = f"transform(roundDown({moment}, {array}), {array}, {periods}, toInt32(-1))"
    return _Part(
        found, condition, {**parameters, f"{name}s": str([*starts]), f"{name}_periods": str([*starts.values()])}
    )


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
# Rows of either part can be merged once both name the metric.
_METRICS_OF_EVENT = """
    arrayJoin(arrayFilter(
        (metric, event) -> event = toString(name), {metrics:Array(String)}, {events:Array(String)}
    ))
"""
_MERGED = """
    SELECT
        'rollups' AS part, period, entity, figure, sum(both.found) AS found, sum(both.seconds) AS seconds,
        toInt64(groupBitmapMerge(both.handed)) AS handed, sum(both.of_merged) AS of_merged
    FROM ({parts}) AS both
    GROUP BY period, entity, figure
"""

_UNION = " UNION ALL "
_VERSIONS_SELECT = """
    SELECT 'versions', 0, toInt64(toUInt16(date)), '', toUnixTimestamp64Milli(max(computed_at)), 0, 0, 0
    FROM reporting_rollups WHERE {dates} GROUP BY date
"""
# Without a condition ClickHouse answers from what it knows of its parts.
_ROWS_SELECT = """
    SELECT 'rows', 0, toInt64(toUInt16(toDate(created_at))), '', toInt64(count()), 0, 0, 0
    FROM reporting_events GROUP BY toDate(created_at)
"""
