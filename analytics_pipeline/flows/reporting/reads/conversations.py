"""The figures of a report that only the source knows: along what conversations have as they are now."""

from collections.abc import Sequence
from typing import Any

from typing_extensions import LiteralString

from analytics_pipeline.flows.reporting.reads.cells import Cells
from analytics_pipeline.flows.reporting.reads.metrics import CONVERSATIONS, Cell, ReportMetric, report_dimension
from analytics_pipeline.flows.reporting.reads.periods import Period
from analytics_pipeline.flows.reporting.reads.query import ReportQuery
from analytics_pipeline.resources.postgres import Postgres


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
    # Said only where it narrows: a plan that is made for either would serve neither.
    only: LiteralString = "TRUE" if query.entity_id is None else "conversation.[dimension] = %(entity)s"
    return postgres.query(
        statement.replace("[only]", only).replace("[dimension]", column),
        account=query.account_id,
        entity=query.entity_id,
        starts=[period.since for period in periods],
        until=periods[-1].until,
        **rest,
    )


# The periods have no gaps, so the number of starts that have passed is the number of the period.
_CONVERSATIONS: LiteralString = """
    SELECT width_bucket(created_at::timestamptz, %(starts)s::timestamptz[]) - 1, [dimension], count(*)
    FROM {conversations} AS conversation
    WHERE account_id = %(account)s AND created_at >= (%(starts)s::timestamptz[])[1] AND created_at < %(until)s
        AND [dimension] IS NOT NULL AND [only]
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
        AND conversation.[dimension] IS NOT NULL AND [only]
    GROUP BY 1, 2, 3
"""
