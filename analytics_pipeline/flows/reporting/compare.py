"""Rollups beside the raw events in ClickHouse: equal counts, equal averages, and what may have come between them.

The raw side is another statement than the one that computes rollups: days by a plain range join, dimensions by
ARRAY JOIN, no grouping sets. Both sides are added up over a period of whole local days; distinct conversations count
once a day, as the rollups have them.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any, Literal

from analytics_pipeline.flows.days import Days, next_day
from analytics_pipeline.flows.reporting import ledger
from analytics_pipeline.flows.reporting.accounts import Account
from analytics_pipeline.flows.reporting.event_history import histories
from analytics_pipeline.flows.reporting.ledger import AccountDay, Copies, account_days, copies, stale
from analytics_pipeline.flows.reporting.registry import REGISTRY, Payload, Registry
from analytics_pipeline.flows.reporting.rollups import day_bounds_table
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.names import quoted
from analytics_pipeline.resources.postgres import Postgres
from analytics_pipeline.resources.sql_files import sql_file

By = Literal["day", "week", "month"]

# Averages closer than this many seconds are equal.
TOLERANCE = 0.01
# Of each period, metric and dimension this many differences are shown, and of a period's accounts so many looked into.
EXAMPLES = 10
_ACCOUNTS_LOOKED_INTO = 1_000
_SPILL_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True)
class Figure:
    """A key's sums over a period."""

    count: int
    seconds: float
    business_seconds: float


@dataclass(frozen=True)
class Difference:
    """A key whose sides are not equal; None is a side that has no such key."""

    period: Days
    account_id: int
    dimension: str
    dimension_id: int
    metric: str
    raw: Figure | None
    rollup: Figure | None


@dataclass(frozen=True)
class Line:
    """One metric along one dimension: how many keys were compared, and how they came out."""

    keys: int = 0
    equal: int = 0
    only_raw: int = 0
    only_rollup: int = 0
    largest_count_delta: int = 0
    largest_average_delta: float = 0.0

    def __add__(self, other: "Line") -> "Line":
        return Line(
            self.keys + other.keys,
            self.equal + other.equal,
            self.only_raw + other.only_raw,
            self.only_rollup + other.only_rollup,
            max(self.largest_count_delta, other.largest_count_delta),
            max(self.largest_average_delta, other.largest_average_delta),
        )


@dataclass(frozen=True)
class Compared:
    """A period: lines by (metric, dimension), some of its differences, and why the accounts concerned may differ.

    `causes` counts the account days of which the ledger does not vouch for the rollup, by the reason: one of
    coverage's, or `uncopied`. A difference without any is one that the ledger vouches for.
    `left_out` counts account days between their account's first event and its last of which ClickHouse never had a
    copy: neither side has them, which proves nothing.
    """

    period: Days
    lines: Mapping[tuple[str, str], Line]
    differences: Sequence[Difference]
    causes: Mapping[str, int]
    left_out: int = 0

    @property
    def total(self) -> Line:
        return sum(self.lines.values(), Line())


@dataclass(frozen=True)
class Sides:
    """Both sides beside each other: lines by (metric, dimension), some of their differences, and accounts with any."""

    lines: Mapping[tuple[str, str], Line]
    differences: Sequence[Difference]
    concerned: Collection[int]


def compare_days(
    clickhouse: ClickHouse, registry: Registry, period: Days, ones: Sequence[AccountDay], tolerance: float = TOLERANCE
) -> Sides:
    """These account days of the period, of which there is at least one. `tolerance` is of averages, in seconds."""
    with day_bounds_table(clickhouse, ones, datetime.now(timezone.utc)) as bounds:
        rows = clickhouse.query(
            comparison_select(registry, bounds),
            starts_at=min(one.bounds.starts_at for one in ones),
            ends_at=max(one.bounds.ends_at for one in ones),
            first=period.first,
            last=period.last,
            tolerance=tolerance,
            **_parameters(registry),
        )
    return Sides(
        {(metric, dimension): Line(*line) for metric, dimension, *line, _examples, _accounts in rows},
        [_difference(period, row[0], row[1], one) for row in rows for one in row[-2]],
        {account for row in rows for account in row[-1]},
    )


@dataclass(frozen=True)
class Comparison:
    """Compares closed days of the accounts, period by period."""

    postgres: Postgres
    clickhouse: ClickHouse
    accounts: Sequence[Account]
    now: datetime
    registry: Registry = REGISTRY

    def compare(self, days: Days, by: By) -> Iterator[Compared]:
        """Each period of the range in order; at its ends they are cut. One period is held at a time."""
        eventful = {one.account.id: one.days for one in histories(self.postgres, self.accounts)}
        for period in periods(days, by):
            yield self._compared(period, eventful)

    def _compared(self, period: Days, eventful: Mapping[int, Days]) -> Compared:
        every = account_days(self.accounts, period.first, period.last)
        ones = [one for one in every if one.bounds.starts_at < one.bounds.ends_at <= self.now]
        if not ones:
            return Compared(period, {}, [], {})
        # Before the figures: a day that is copied meanwhile is called left out, never compared when it was not.
        sources = copies(self.postgres, period.first - timedelta(days=2), period.last + timedelta(days=2))
        sides = compare_days(self.clickhouse, self.registry, period, ones)
        causes = self._causes(period, [one for one in ones if one.account.id in sides.concerned], sources)
        left_out = [one for one in ones if _has_events(one, eventful) and not sources.newest(one.bounds)]
        return Compared(period, sides.lines, sides.differences, causes, len(left_out))

    def _causes(self, period: Days, ones: Sequence[AccountDay], sources: Copies) -> dict[str, int]:
        if not ones:
            return {}
        covered = ledger.coverage(self.postgres, period.first, period.last)
        found = Counter({str(why): len(days) for why, days in stale(ones, covered, sources, self.registry).items()})
        found["uncopied"] = sum(not sources.is_complete(one.bounds) for one in ones)
        return dict(+found)


def periods(days: Days, by: By) -> Iterator[Days]:
    """The calendar's days, weeks (from Sunday) or months that the range touches, cut at its ends."""
    first = days.first
    while first <= days.last:
        last = min(_last_of_period(first, by), days.last)
        yield Days(first, last)
        first = next_day(last)


def _last_of_period(day: date, by: By) -> date:
    if by == "day":
        return day
    if by == "week":
        return day + timedelta(days=6 - day.isoweekday() % 7)
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1) - timedelta(days=1)


def _has_events(one: AccountDay, eventful: Mapping[int, Days]) -> bool:
    return one.account.id in eventful and one.date in eventful[one.account.id]


def _difference(period: Days, metric: str, dimension: str, row: tuple[Any, ...]) -> Difference:
    account, id_, in_raw, in_rollup, *figures = row
    raw, rollup = Figure(*figures[:3]), Figure(*figures[3:])
    return Difference(period, account, dimension, id_, metric, raw if in_raw else None, rollup if in_rollup else None)


def _parameters(registry: Registry) -> dict[str, list[str]]:
    return {
        "events": [metric.event for metric in registry.metrics],
        "metrics": [metric.name for metric in registry.metrics],
        "durations": [metric.name for metric in registry.metrics if metric.payload is Payload.DURATION],
        "distincts": [m.name for m in registry.metrics if m.payload is Payload.DISTINCT_CONVERSATIONS],
    }


def comparison_select(registry: Registry, bounds: str) -> str:
    """One row for each metric and dimension: the fields of `Line`, examples of differences, accounts that have any.

    Parameters: those of the registry, `first` and `last` (dates), `starts_at` and `ends_at` (UTC) that frame the
    bounds in the table `bounds`, `tolerance` in seconds.
    """
    return sql_file(
        __package__,
        "compare.sql",
        BOUNDS=quoted(bounds),
        EXAMPLES=str(EXAMPLES),
        ACCOUNTS=str(_ACCOUNTS_LOOKED_INTO),
        SPILL=str(_SPILL_BYTES),
        DIMENSIONS=", ".join(f"('{one.name}', toNullable(event.{quoted(one.column)}))" for one in registry.dimensions),
    )
