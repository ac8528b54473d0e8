"""Reading one query: may the rollups be read, which of their days hold, and do they still when they have been read."""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Generic, Literal, TypeAlias, TypeVar

from openfeature.client import OpenFeatureClient

from analytics_pipeline.flows.days import contiguous
from analytics_pipeline.flows.held_days import unheld_days
from analytics_pipeline.flows.reporting.accounts import Account, Unzoned
from analytics_pipeline.flows.reporting.errors import NoStates
from analytics_pipeline.flows.reporting.event_history import first_event
from analytics_pipeline.flows.reporting.ledger import AccountDay
from analytics_pipeline.flows.reporting.reads.cells import Cells, Found, event_cells
from analytics_pipeline.flows.reporting.reads.conversations import conversation_cells, event_cells_by_conversation
from analytics_pipeline.flows.reporting.reads.metrics import ReportMetric, report_dimension
from analytics_pipeline.flows.reporting.reads.periods import Period, whole
from analytics_pipeline.flows.reporting.reads.plan import ReadPlan, ReportZone, read_plan, whole_days
from analytics_pipeline.flows.reporting.reads.query import ReportQuery
from analytics_pipeline.flows.reporting.reads.vouched import UNKNOWN, Ledgers, Vouched
from analytics_pipeline.flows.reporting.registry import Registry
from analytics_pipeline.flows.reporting.source import REPORTING_EVENTS
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.feature_flags import FlagsUnavailable, is_enabled
from analytics_pipeline.resources.postgres import Postgres

logger = logging.getLogger(__name__)

READ_FLAG = "reporting_events_rollup"
# How often is read anew, with the events of days that were swapped meanwhile, before the events answer for all.
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

    def of_events(self, ask: Callable[[ClickHouse], T]) -> Answer[T]:
        """An answer of the events themselves, with the days of the range that lack some."""
        span = whole(self.query)
        ledgers = Ledgers(self.postgres, self.account.id, self.registry, span, self.now)
        # Asked before the events are, as in `_events`.
        vouched, value = ledgers.vouched([]), ask(self.clickhouse)
        if lost := unheld_days(self.postgres, self.clickhouse, REPORTING_EVENTS.held):
            vouched = ledgers.vouched([], lost)
        return Answer(value, "raw", tuple(contiguous(self._missing(vouched.lacking))), vouched.as_of)

    def _events(self, metrics: Sequence[ReportMetric], periods: Sequence[Period]) -> Answer[Cells]:
        if report_dimension(self.query.dimension).rolled is None:
            return Answer(event_cells_by_conversation(self.postgres, periods, self.query, metrics), "raw", (), self.now)
        span = Period(periods[0].since, periods[0].since, periods[-1].until)
        ledgers = Ledgers(self.postgres, self.account.id, self.registry, span, self.now)
        # Asked before the events are: what is copied meanwhile is newer than the answer says, never older.
        candidates = self._candidates(span)
        vouched = ledgers.vouched(candidates)
        plan, found = self._consistent(metrics, periods, candidates, vouched, ledgers)
        if lost := self._lost(found, vouched):
            vouched = ledgers.vouched([], lost)
        return Answer(found.cells, _source(plan), tuple(contiguous(self._missing(vouched.lacking))), vouched.as_of)

    def _missing(self, lacking: Sequence[date]) -> list[date]:
        first = first_event(self.postgres, self.account.id) if lacking else None
        return [day for day in lacking if first and day >= first.date()]

    def _consistent(
        self,
        metrics: Sequence[ReportMetric],
        periods: Sequence[Period],
        candidates: Sequence[AccountDay],
        vouched: Vouched,
        ledgers: Ledgers,
    ) -> tuple[ReadPlan, Found]:
        """How the periods were read, and what was found. Every day from the rollups is one that was vouched for: its
        version was read with its figures, and every swap and every loss changes the version."""
        held = [day for day in candidates if day.date in vouched.versions]
        for _ in range(_ATTEMPTS):
            plan = read_plan(periods, held)
            try:
                found = event_cells(self.clickhouse, plan, self.query, metrics)
            except NoStates:
                break
            changed = _changed(plan, found, vouched) or _unknown_changed(plan, vouched, candidates, ledgers)
            if not changed:
                return plan, found
            logger.warning("account %d: %d days changed while they were read", self.query.account_id, len(changed))
            held = [day for day in held if day.date not in changed]
        plan = read_plan(periods, [])
        return plan, event_cells(self.clickhouse, plan, self.query, metrics)

    def _lost(self, found: Found, vouched: Vouched) -> Collection[date]:
        """The UTC days of which ClickHouse does not hold the events that were copied, also where rollups answered."""
        if all(found.rows.get(day, 0) == rows for day, rows in vouched.rows.items()):
            return ()
        # Most were only swapped meanwhile, which the ledger knows by now.
        return unheld_days(self.postgres, self.clickhouse, REPORTING_EVENTS.held)

    def _candidates(self, span: Period) -> list[AccountDay]:
        """The days that may come from the rollups if they hold. No day fits into an hour, so hours never do."""
        if (
            isinstance(self.account, Account)
            and self.zone.is_accounts
            and self.query.dimension in {dimension.name for dimension in self.registry.dimensions}
            and self._rollups_are_read()
        ):
            return whole_days(self.account, span)
        return []

    def _rollups_are_read(self) -> bool:
        try:
            return is_enabled(self.flags, READ_FLAG, account=self.query.account_id)
        except FlagsUnavailable as error:
            # The events give the same numbers, only later.
            logger.warning("%s; the raw events answer", error)
            return False


def _changed(plan: ReadPlan, found: Found, vouched: Vouched) -> set[date]:
    """The days whose rollups were read in another state than was vouched for: swapped meanwhile, or lost."""
    return {day for day in plan.rolled if vouched.versions[day] not in (UNKNOWN, found.versions.get(day, 0))}


def _unknown_changed(plan: ReadPlan, vouched: Vouched, candidates: Sequence[AccountDay], ledgers: Ledgers) -> set[date]:
    """The same of days whose version nobody recorded: a swap would have done so by now, or taken the day back."""
    unknown = {day for day in plan.rolled if vouched.versions[day] == UNKNOWN}
    if not unknown:
        return unknown
    now = ledgers.vouched([day for day in candidates if day.date in unknown]).versions
    return {day for day in unknown if now.get(day) != UNKNOWN}


def _source(plan: ReadPlan) -> Source:
    if not plan.rolled:
        return "raw"
    return "mixed" if plan.raw else "rollup"
