"""Reading one aggregate: figures of the days that hold, events of the others and of what has come since, merged."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import Any, Generic, TypeVar

from analytics_pipeline.flows.product_events.aggregates.tables import Aggregate
from analytics_pipeline.flows.product_events.ledger import first_day, recorded
from analytics_pipeline.flows.product_events.reads.plan import Coverage, Known, Plan
from analytics_pipeline.flows.product_events.reads.query import EventQuery
from analytics_pipeline.flows.product_events.source import events_after, milliseconds, rows_by_day
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.names import quoted
from analytics_pipeline.resources.postgres import Postgres

logger = logging.getLogger(__name__)

# How often is read anew, with the events of days that were swapped meanwhile, before what is there is answered.
_ATTEMPTS = 3

T = TypeVar("T")
U = TypeVar("U")
Row = tuple[Any, ...]


@dataclass(frozen=True)
class Answer(Generic[T]):
    """A value that was asked for, and how far it can be trusted."""

    value: T
    coverage: Coverage

    def of(self, value: U) -> "Answer[U]":
        """The same of what was made of the value."""
        return Answer(value, self.coverage)

    def mapped(self, change: Callable[[T], U]) -> "Answer[U]":
        return Answer(change(self.value), self.coverage)


@dataclass(frozen=True)
class Reading:
    """Questions about product events as of `now` (aware, UTC), to stores that keep events for `retention_days`.

    To be made anew for each moment: what it has found out about days it does not ask again.
    """

    clickhouse: ClickHouse
    postgres: Postgres
    retention_days: int
    now: datetime

    def rows(self, aggregate: Aggregate, query: EventQuery, select: str, **parameters: Any) -> Answer[list[Row]]:
        """The rows of a SELECT from `figures`: rows of the aggregate over the days of the query, to be merged.

        Its `{figures}` stands for the relation, which has the aggregate's key and the columns that its statement makes,
        and may hold several rows of a key.
        """
        known = self._known(aggregate, query)
        for _ in range(_ATTEMPTS):
            plan = known.plan(query.days)
            statement, bound = _statement(aggregate, query, plan, select)
            found = self.clickhouse.query(statement, **bound, **parameters)
            # Versions only rise: figures that still have theirs are the ones that were read.
            changed = plan.changed(aggregate.table.versions(self.clickhouse)) if plan.is_vouched_for else set()
            if not changed:
                break
            logger.warning("%s: %d days changed while they were read", aggregate.name, len(changed))
            known = known.without(changed)
        return Answer(found, plan.coverage(self.now))

    def _known(self, aggregate: Aggregate, query: EventQuery) -> Known:
        known = recorded(self.postgres, aggregate.name, query.first, query.end)
        return Known(known, self._rows, self._first_day, self.now.date(), self.retention_days)

    @cached_property
    def _rows(self) -> dict[date, int]:
        return rows_by_day(self.clickhouse)

    @cached_property
    def _first_day(self) -> date | None:
        return first_day(self.postgres)


def _statement(aggregate: Aggregate, query: EventQuery, plan: Plan, select: str) -> tuple[str, dict[str, Any]]:
    columns = ", ".join((*aggregate.key, *aggregate.columns))
    whose = "true" if query.organisation_id is None else "organisation_id = {organisation:UInt64}"
    parameters: dict[str, Any] = {}
    if query.organisation_id is not None:
        parameters["organisation"] = query.organisation_id
    parts = []
    if plan.figures:
        parts.append(
            f"SELECT {columns} FROM {quoted(aggregate.name)} FINAL"
            f" WHERE {whose} AND date BETWEEN {{first:Date}} AND {{last:Date}} AND date NOT IN {{left_out:Array(Date)}}"
        )
        first, last = min(plan.figures), max(plan.figures)
        left_out = [day for day in query.days if first <= day <= last and day not in plan.figures]
        parameters |= {"first": first, "last": last, "left_out": left_out}
    if plan.events:
        parts.append(f"SELECT {columns} FROM ({aggregate.select(events_after(whose))})")
        tail_from = [milliseconds(moment) for moment in plan.events.values()]
        parameters |= {"tail_days": [*plan.events], "tail_from": tail_from}
    return f"{select.format(figures=' UNION ALL '.join(parts).join('()'))} {_SETTINGS}", parameters


# Neither a figure's key nor an event's has rows in two partitions, so each is made final by itself.
_SETTINGS = "SETTINGS do_not_merge_across_partitions_select_final = 1"
