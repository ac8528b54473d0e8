"""Reading one query: may the rollups be read, which of their days hold, and do they still when they have been read."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Generic, Literal, TypeAlias, TypeVar

from openfeature.client import OpenFeatureClient

from analytics_pipeline.flows.days import contiguous
from analytics_pipeline.flows.held_days import unheld_days
from analytics_pipeline.flows.reporting.accounts import Account, Unzoned
from analytics_pipeline.flows.reporting.coverage import AccountDay, Copies, Reason, copies
from analytics_pipeline.flows.reporting.errors import NoStates
from analytics_pipeline.flows.reporting.event_history import first_event
from analytics_pipeline.flows.reporting.reads.cells import (
    Cells,
    conversation_cells,
    event_cells,
    event_cells_by_conversation,
)
from analytics_pipeline.flows.reporting.reads.metrics import ReportMetric, report_dimension
from analytics_pipeline.flows.reporting.reads.periods import Period
from analytics_pipeline.flows.reporting.reads.plan import (
    ReadPlan,
    ReportZone,
    holding,
    read_plan,
    source_days,
    whole_days,
)
from analytics_pipeline.flows.reporting.reads.query import ReportQuery
from analytics_pipeline.flows.reporting.registry import Registry
from analytics_pipeline.flows.reporting.rollups import ROLLUPS
from analytics_pipeline.flows.reporting.source import REPORTING_EVENTS
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.feature_flags import FlagsUnavailable, is_enabled
from analytics_pipeline.resources.postgres import Postgres

logger = logging.getLogger(__name__)

# Newer events than the answer speaks of are no error.
_FORGIVEN: tuple[Reason, ...] = ("source",)
READ_FLAG = "reporting_events_rollup"
# How often rollups are read anew when days were taken back meanwhile, before the raw events answer.
_ATTEMPTS = 3

T = TypeVar("T")
U = TypeVar("U")
Source: TypeAlias = Literal["rollup", "raw", "mixed"]


@dataclass(frozen=True)
class Answer(Generic[T]):
    """A report's value and how far it can be trusted.

    `missing` are ranges, both ends inclusive, of UTC days whose events were never copied, or not since the day has
    ended, or that ClickHouse does not hold as they were copied: the value may lack some. Days before the account's
    first event have none to lack.
    `as_of` is when the first of the days used was read from the source: what has changed since may be lacking. None:
    nothing of the range has been read yet.
    """

    value: T
    source: Source
    missing: tuple[tuple[date, date], ...]
    as_of: datetime | None

    @property
    def partial(self) -> bool:
        """Whether the events of any day are missing."""
        return bool(self.missing)

    def of(self, value: U) -> "Answer[U]":
        """The same of what was made of the value."""
        return Answer(value, self.source, self.missing, self.as_of)


@dataclass(frozen=True)
class Reading:
    """One query of an account, whose report shows the days of `zone`, as of `now`."""

    clickhouse: ClickHouse
    postgres: Postgres
    flags: OpenFeatureClient
    registry: Registry
    account: Account | Unzoned
    query: ReportQuery
    zone: ReportZone
    now: datetime

    def cells(self, metrics: Sequence[ReportMetric], periods: Sequence[Period]) -> Answer[Cells]:
        """The cells of the metrics in contiguous periods."""
        of_events = [metric for metric in metrics if metric.rolled]
        found = self._events(of_events, periods) if of_events else Answer({}, "raw", (), self.now)
        if len(of_events) == len(metrics):
            return found
        return found.of({**found.value, **conversation_cells(self.postgres, periods, self.query)})

    def _events(self, metrics: Sequence[ReportMetric], periods: Sequence[Period]) -> Answer[Cells]:
        if report_dimension(self.query.dimension).rolled is None:
            return Answer(event_cells_by_conversation(self.postgres, periods, self.query, metrics), "raw", (), self.now)
        span = Period(periods[0].since, periods[0].since, periods[-1].until)
        needed = source_days(span, self.now)
        # Asked before the events are: what is copied meanwhile is newer than the answer says, never older.
        sources = copies(self.postgres, span.since.date(), span.until.date())
        sources = sources.without(unheld_days(self.postgres, self.clickhouse, REPORTING_EVENTS.held))
        cells, source = self._consistent(metrics, periods, self._candidates(span), sources)
        read_at = [sources.copied_at[day] for day in needed if day in sources.copied_at]
        missing = contiguous(self._missing(needed, sources))
        return Answer(cells, source, tuple(missing), min(read_at, default=None))

    def _missing(self, needed: Sequence[date], sources: Copies) -> list[date]:
        lacking = [day for day in needed if sources.lacks(day, self.now)]
        first = first_event(self.postgres, self.account.id) if lacking else None
        return [day for day in lacking if first and day >= first.date()]

    def _consistent(
        self,
        metrics: Sequence[ReportMetric],
        periods: Sequence[Period],
        candidates: Sequence[AccountDay],
        sources: Copies,
    ) -> tuple[Cells, Source]:
        """A day that is computed for another zone or registry is taken back before its rows change, so asking
        afterwards whether the days still hold tells whether the rows read were theirs."""
        for _ in range(_ATTEMPTS):
            held = holding(self.postgres, candidates, sources, self.registry)
            plan = read_plan(periods, held)
            try:
                cells = event_cells(self.clickhouse, plan, self.query, metrics)
            except NoStates:
                break
            used = [day for day in held if day.date in plan.rolled]
            if holding(self.postgres, used, sources, self.registry, forgiven=_FORGIVEN) == used:
                return cells, _source(plan)
            logger.warning("account %d: rollups changed while they were read", self.query.account_id)
        return event_cells(self.clickhouse, read_plan(periods, []), self.query, metrics), "raw"

    def _candidates(self, span: Period) -> list[AccountDay]:
        """The days that may come from the rollups if they hold. No day fits into an hour, so hours never do."""
        if (
            isinstance(self.account, Account)
            and self.zone.is_accounts
            and self.query.dimension in {dimension.name for dimension in self.registry.dimensions}
            and self._rollups_are_read()
        ):
            lost = unheld_days(self.postgres, self.clickhouse, ROLLUPS)
            return [day for day in whole_days(self.account, span) if day.date not in lost]
        return []

    def _rollups_are_read(self) -> bool:
        try:
            return is_enabled(self.flags, READ_FLAG, account=self.query.account_id)
        except FlagsUnavailable as error:
            # The events give the same numbers, only later.
            logger.warning("%s; the raw events answer", error)
            return False


def _source(plan: ReadPlan) -> Source:
    if not plan.rolled:
        return "raw"
    return "mixed" if plan.raw else "rollup"
