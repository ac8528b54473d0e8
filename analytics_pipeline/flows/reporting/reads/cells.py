"""The figures of a report that ClickHouse has, and what tells which state of it they are of, in one statement."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TypeAlias

from analytics_pipeline.flows.reporting.errors import NoStates
from analytics_pipeline.flows.reporting.reads.metrics import Cell, ReportMetric
from analytics_pipeline.flows.reporting.reads.plan import ReadPlan
from analytics_pipeline.flows.reporting.reads.query import ReportQuery
from analytics_pipeline.flows.reporting.reads.statement import EPOCH_ORDINAL, EVENTS, ROWS, VERSIONS, statement_of
from analytics_pipeline.resources.clickhouse.client import ClickHouse

# (number of the period, id in the dimension, key of the metric) to what was found; a key without events is absent.
Cells: TypeAlias = dict[tuple[int, int, str], Cell]


@dataclass(frozen=True)
class Found:
    """The state of ClickHouse at one moment: the cells, and what tells the days from other states of them.

    `versions` are those of the local days that were read from the rollups, in milliseconds. `rows` tells how many
    events each UTC day has, of all accounts. A day without any is absent.
    """

    cells: Cells
    versions: dict[date, int]
    rows: dict[date, int]


def event_cells(clickhouse: ClickHouse, plan: ReadPlan, query: ReportQuery, metrics: Sequence[ReportMetric]) -> Found:
    """The cells of metrics of events. Distinct counts are merged over days, and with those of the events beside them.

    Raises:
        NoStates: a day's rollup has a distinct count and does not say of what.
    """
    found = Found({}, {}, {})
    days = {VERSIONS: found.versions, ROWS: found.rows}
    figures = _Figures.of(metrics)
    statement, parameters = statement_of(plan, query, metrics)
    for kind, period, entity, figure, count, seconds, conversations, of_merged in clickhouse.query(
        statement, **parameters
    ):
        if kind in days:
            days[kind][date.fromordinal(EPOCH_ORDINAL + entity)] = count
        elif count > 0:
            one = figures.cell(figure, count, seconds, conversations, of_merged)
            for name in figures.named(kind, figure):
                before = found.cells.get((period, entity, name))
                found.cells[period, entity, name] = before.plus(one) if before else one
    return found


@dataclass(frozen=True)
class _Figures:
    """The metrics that rows are of: rollups name the metric, events their kind, which may be that of several."""

    distinct: frozenset[str]
    of_events: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, metrics: Sequence[ReportMetric]) -> "_Figures":
        of_events: dict[str, list[str]] = defaultdict(list)
        for metric in metrics:
            if metric.rolled:
                of_events[metric.rolled.event].append(metric.key)
        return cls(frozenset(metric.key for metric in metrics if metric.is_distinct), of_events)

    def named(self, kind: str, figure: str) -> Sequence[str]:
        return self.of_events[figure] if kind == EVENTS else (figure,)

    def cell(self, figure: str, count: int, seconds: float, conversations: int, of_merged: int) -> Cell:
        if figure not in self.distinct:
            return Cell(count, seconds)
        if of_merged != count:
            raise NoStates
        return Cell(conversations, seconds)
