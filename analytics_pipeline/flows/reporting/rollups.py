"""Rollups of local days: one set-based statement for all accounts, staged, swapped, then recorded as covered.

Bounds of each account's day are joined, not computed per row; all dimensions come out of one pass by GROUPING SETS.
Live figures and rebuilt ones are made by this same code, so they cannot differ.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from analytics_pipeline.flows.days import last_of_month, next_day
from analytics_pipeline.flows.guards import require_room
from analytics_pipeline.flows.held_days import note_losses, swap_days
from analytics_pipeline.flows.held_tables import MonthTable
from analytics_pipeline.flows.reporting import ledger
from analytics_pipeline.flows.reporting.accounts import accounts
from analytics_pipeline.flows.reporting.ledger import AccountDay, LocalDays, copies, local_days
from analytics_pipeline.flows.reporting.registry import REGISTRY, Payload, Registry
from analytics_pipeline.flows.reporting.source import REPORTING_EVENTS
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.errors import is_transient, retrying
from analytics_pipeline.resources.clickhouse.names import quoted
from analytics_pipeline.resources.postgres import Postgres
from analytics_pipeline.resources.sql_files import sql_file

logger = logging.getLogger(__name__)

# As many days as are computed and swapped together: more would need more memory, fewer more statements. With very many
# accounts fewer days, because each account's day is a row of the statements that bound and record the pass.
DAYS_PER_PASS = 31
ACCOUNT_DAYS_PER_PASS = 200_000
_SPILL_BYTES = 512 * 1024 * 1024
_PATIENCE = timedelta(minutes=10)
ROLLUPS = MonthTable(
    "reporting_rollups",
    key=("account_id", "metric", "dimension_type", "dimension_id", "date"),
    lease="reporting_rollups",
)
BOUNDS = MonthTable("reporting_day_bounds", key=("account_id", "date"), lease="reporting_rollups")

ROLLUP_COLUMNS = (
    "account_id",
    "date",
    "dimension_type",
    "dimension_id",
    "metric",
    "count",
    "sum_value",
    "sum_value_business_hours",
    "conversations",
    "timezone",
    "computed_at",
)

Progress = Callable[[date, int], None]


@dataclass(frozen=True)
class RolledDay:
    """A local date: how many rollup rows it has over all accounts, and of how many accounts it is."""

    date: date
    rows: int
    accounts: int
    complete: bool


@dataclass(frozen=True)
class Rollups:
    """Computes local days on behalf of one run. `progress` hears the last date of each finished pass and its days."""

    clickhouse: ClickHouse
    postgres: Postgres
    run_id: str
    registry: Registry = REGISTRY
    progress: Progress = lambda _date, _days: None

    def compute(self, first: date, last: date) -> list[RolledDay]:
        """Replace the rollups of all accounts for the dates from `first` to `last`, both inclusive.

        Finished passes stay when a later one fails.

        Raises:
            DiskFull, TooManyParts: a guard stopped it.
            LeaseHeld: another run did not finish its pass within ten minutes.
        """
        found: list[RolledDay] = []
        while first <= last:
            require_room(self.clickhouse, ROLLUPS.name)
            # Held for one pass only, so that today's figures need not wait for ten years of history.
            with self.postgres.lease(ROLLUPS.lease, patience=_PATIENCE):
                passed = retrying(self.clickhouse.attempts, is_transient)(self._pass, first, last)
            self.progress(passed[-1].date, len(passed))
            found += passed
            first = next_day(passed[-1].date)
        return found

    def _pass(self, first: date, last: date) -> list[RolledDay]:
        """Replace as many of the dates as one pass may hold, the first ones."""
        zoned = accounts(self.postgres).zoned
        last = min(last, last_of_month(first), first + timedelta(days=days_per_pass(len(zoned)) - 1))
        dates = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        days = local_days(zoned, first, last)
        # Read before the events are: a copy that lands meanwhile makes the day stale, not wrong.
        note_losses(self.postgres, self.clickhouse, REPORTING_EVENTS.held)
        sources = copies(self.postgres, first - timedelta(days=2), last + timedelta(days=2))
        computed_at = max(table.next_version(self.clickhouse, dates) for table in (ROLLUPS, BOUNDS))
        with ExitStack() as cleanup:
            bounds = cleanup.enter_context(day_bounds_table(self.clickhouse, days, computed_at))
            staging = cleanup.enter_context(self.clickhouse.staging(ROLLUPS.name))
            self._insert_rollups(staging, bounds, days, computed_at)
            with self.postgres.ledgers.connect() as connection:
                ledger.forget_others(connection, dates, days, self.registry)
                swap_days(self.clickhouse, connection, BOUNDS, bounds, dates)
                contents = swap_days(self.clickhouse, connection, ROLLUPS, staging, dates)
                ledger.record(connection, days, sources, self.registry, self.run_id)
        logger.info("rolled up %s to %s of %d account days", first, last, len(days))
        early = {one.date for one in days.distinct if not sources.is_complete(one)}
        return [
            RolledDay(day, content.rows or 0, len(zoned), day not in early)
            for day, content in zip(dates, contents, strict=True)
        ]

    def _insert_rollups(self, staging: str, bounds: str, days: LocalDays, computed_at: datetime) -> None:
        if not days:
            return
        # Once: sent again after a lost answer it would add all rows again. The pass is tried anew, with an empty table.
        replace(self.clickhouse, attempts=1).execute(
            f"INSERT INTO {quoted(staging)} ({', '.join(ROLLUP_COLUMNS)})"
            f" {rollup_select(self.registry, quoted(bounds))}"
            f" SETTINGS max_bytes_before_external_group_by = {_SPILL_BYTES}",
            starts_at=min(one.starts_at for one in days.distinct),
            ends_at=max(one.ends_at for one in days.distinct),
            computed_at=computed_at,
            **metric_parameters(self.registry),
        )


def days_per_pass(accounts: int) -> int:
    """How many days of so many accounts are computed together; at least one, because a date is swapped as a whole."""
    return max(1, min(DAYS_PER_PASS, ACCOUNT_DAYS_PER_PASS // max(1, accounts)))


@contextmanager
def day_bounds_table(clickhouse: ClickHouse, days: Iterable[AccountDay], version: datetime) -> Iterator[str]:
    """A staging table shaped like `reporting_day_bounds` with the bounds of these days, for a statement to join."""
    rows = [
        [day.account.id, day.date, day.account.timezone, day.bounds.starts_at, day.bounds.ends_at, version]
        for day in days
        # A day that its zone skipped has no moments, and would share its start with the next.
        if day.bounds.starts_at < day.bounds.ends_at
    ]
    with clickhouse.staging(BOUNDS.name) as table:
        columns = ["account_id", "date", "timezone", "starts_at", "ends_at", "computed_at"]
        replace(clickhouse, attempts=1).insert_rows(table, columns, rows)
        yield table


def metric_parameters(registry: Registry) -> dict[str, list[str]]:
    """The registry's metrics as the parameters of `rollup_select`."""
    return {
        "events": [metric.event for metric in registry.metrics],
        "metrics": [metric.name for metric in registry.metrics],
        "payloads": [metric.payload.value for metric in registry.metrics],
        "distinct_events": [m.event for m in registry.metrics if m.payload is Payload.DISTINCT_CONVERSATIONS],
    }


def rollup_select(registry: Registry, bounds: str) -> str:
    """A SELECT of rollup rows from `reporting_events` for the days in `bounds`: a table like `reporting_day_bounds`.

    Parameters: `metric_parameters`, and `starts_at`, `ends_at` (UTC), which frame all bounds, and `computed_at`.
    """
    own = [dimension for dimension in registry.dimensions if dimension.column != "account_id"]
    (whole,) = [dimension.name for dimension in registry.dimensions if dimension.column == "account_id"]
    keys = "account_id, date, timezone, name"
    sets = ", ".join([f"({keys})", *(f"({keys}, {quoted(dimension.column)})" for dimension in own)])
    types = ", ".join(f"grouping({quoted(d.column)}) = 0, '{d.name}'" for d in own)
    ids = ", ".join(f"grouping({quoted(d.column)}) = 0, {quoted(d.column)}" for d in own)
    columns = ", ".join(f"event.{quoted(dimension.column)} AS {quoted(dimension.column)}" for dimension in own)
    return sql_file(
        __package__,
        "rollups.sql",
        KEYS=keys,
        SETS=sets,
        TYPES=types,
        IDS=ids,
        WHOLE=whole,
        COLUMNS=columns,
        BOUNDS=bounds,
    )
