"""Questions that stored events and rollups must answer well: are they complete, equal, plausible, fresh."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, TypeVar

from psycopg import sql

from analytics_pipeline.flows.audited import Audited
from analytics_pipeline.flows.daily_copy.ledger import between, recorded_days, source_days
from analytics_pipeline.flows.days import Days, day_start, next_day
from analytics_pipeline.flows.reporting.accounts import Account
from analytics_pipeline.flows.reporting.compare import Difference, compare_days
from analytics_pipeline.flows.reporting.ledger import AccountDay, copies, coverage
from analytics_pipeline.flows.reporting.registry import REGISTRY
from analytics_pipeline.flows.reporting.rollups import ROLLUPS
from analytics_pipeline.flows.reporting.source import REPORTING_EVENTS
from analytics_pipeline.flows.reporting.zones import DayBounds
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.postgres import Postgres

T = TypeVar("T")

# Sums in another order differ in their last bits; averages that differ by more than so many seconds are not equal.
_TOLERANCE = 1e-6
# So long a swap under way is waited for.
_PATIENCE = timedelta(minutes=1)


@dataclass(frozen=True)
class CopyDifference:
    """A UTC day whose rows in ClickHouse are not as many as its copy had, or as the source has now."""

    copied: int
    stored: int
    source: int


@dataclass(frozen=True)
class RollupDifference:
    """A rollup row that is not what the raw events say; None: the row is missing on that side."""

    account: int
    dimension: str
    dimension_id: int
    metric: str
    stored: int | None
    raw: int | None


def copy_differences(
    postgres: Postgres, clickhouse: ClickHouse, days: Sequence[date]
) -> Audited[dict[date, CopyDifference]]:
    """How the copies of these neighbouring days differ, of those that were ever copied."""
    condition = between(REPORTING_EVENTS, day_start(days[0]), day_start(next_day(days[-1])))
    with postgres.ledgers.connect() as ledger, postgres.connect() as connection:
        copied = recorded_days(ledger, REPORTING_EVENTS, days)
        source = {one.day: one.rows for one in source_days(connection, postgres, REPORTING_EVENTS, condition)}
    stored = dict(clickhouse.query(_STORED, first=days[0], last=days[-1]))
    found = {
        day: CopyDifference(copy.rows, stored.get(day, 0), source.get(day, 0) - copy.refused)
        for day, (copy, _) in sorted(copied.items())
    }
    return Audited(len(found), {day: one for day, one in found.items() if not one.copied == one.stored == one.source})


def rollup_differences(postgres: Postgres, clickhouse: ClickHouse, day: date) -> Audited[list[RollupDifference]]:
    """Where the rollups of a local date are not what the raw events give, in counts or in averages.

    The raw side is computed by another statement than the one that makes rollups. Compared are the account days that
    the ledger covers, each with the bounds that it names. Those whose events have been copied again since are about to
    be computed again, and are not looked at. Of each metric and dimension some differences are told.

    Raises:
        LeaseHeld: something is being swapped; nothing can be said of the date.
    """
    return _confirmed(postgres, lambda: _differences(postgres, clickhouse, day))


def _confirmed(postgres: Postgres, look: Callable[[], Audited[list[T]]]) -> Audited[list[T]]:
    """Differences that `look` still finds when it looks again while nothing can be swapped.

    A swap that lands between the two sides that are read looks like a difference, also while no ledger knows of it yet.
    """
    looked = look()
    if not looked.found:
        return looked
    with (
        postgres.lease(REPORTING_EVENTS.held.lease, patience=_PATIENCE),
        postgres.lease(ROLLUPS.lease, patience=_PATIENCE),
    ):
        return look()


def _differences(postgres: Postgres, clickhouse: ClickHouse, day: date) -> Audited[list[RollupDifference]]:
    ones = _settled(postgres, day)
    if not ones:
        return Audited(0, [])
    sides = compare_days(clickhouse, REGISTRY, Days(day, day), ones, _TOLERANCE)
    return Audited(len(ones), sorted(map(_told, sides.differences), key=_key))


def _told(one: Difference) -> RollupDifference:
    stored, raw = (None if side is None else side.count for side in (one.rollup, one.raw))
    return RollupDifference(one.account_id, one.dimension, one.dimension_id, one.metric, stored, raw)


def _key(one: RollupDifference) -> tuple[int, str, int, str]:
    return one.account, one.dimension, one.dimension_id, one.metric


def _settled(postgres: Postgres, day: date) -> list[AccountDay]:
    """The account days of the date that were computed from the events that are there now, as they were computed."""
    sources = copies(postgres, day - timedelta(days=2), day + timedelta(days=2))
    ones = [
        (AccountDay(Account(account, "", one.timezone), DayBounds(day, one.starts_at, one.ends_at)), one)
        for (account, _), one in coverage(postgres, day, day).items()
        if one.starts_at < one.ends_at
    ]
    return [account_day for account_day, one in ones if one.source_swapped_at == sources.newest(account_day.bounds)]


def orphans(clickhouse: ClickHouse, postgres: Postgres, day: date) -> Audited[list[dict[str, Any]]]:
    """Rollup rows of a date that no ledger vouches for, or that count nothing, of all accounts that either knows.

    Raises:
        LeaseHeld: something is being swapped; nothing can be said of the date.
    """
    return _confirmed(postgres, lambda: _orphans(clickhouse, postgres, day))


def _orphans(clickhouse: ClickHouse, postgres: Postgres, day: date) -> Audited[list[dict[str, Any]]]:
    rows = clickhouse.query(
        "SELECT account_id, count(), min(count) FROM reporting_rollups FINAL WHERE date = {day:Date}"
        " GROUP BY account_id",
        day=day,
    )
    covered = {
        account
        for (account,) in postgres.query(
            "SELECT account_id FROM analytics_pipeline.reporting_coverage WHERE date = %(day)s", day=day
        )
    }
    found = [
        {"account": account, "rows": count, "smallest_count": smallest}
        for account, count, smallest in rows
        if account not in covered or smallest <= 0
    ]
    return Audited(len(covered.union(account for account, _, _ in rows)), found)


def gaps(postgres: Postgres, days: Sequence[date]) -> Audited[list[tuple[int, date]]]:
    """(account, date) of those of these neighbouring days that are not covered though one before and one after is.

    The first 50. Compared are the account days that are covered.
    """
    ((covered,),) = postgres.query(_COVERED, first=days[0], last=days[-1])
    rows = postgres.query(_GAPS, first=days[0], last=days[-1])
    return Audited(covered, [(account, day) for account, day in rows])


def lag(postgres: Postgres) -> timedelta | None:
    """How much older the newest copied change is than the source's newest; None when either has none."""
    statement = sql.SQL(
        "SELECT max({changed})::timestamptz FROM {relation} AS source WHERE {change} IS NOT NULL"
    ).format(
        changed=sql.SQL(REPORTING_EVENTS.changed),
        change=REPORTING_EVENTS.change,
        relation=postgres.relation(REPORTING_EVENTS.relation),
    )
    with postgres.connect() as connection:
        ((source,),) = connection.execute(statement).fetchall()
    ((copied,),) = postgres.query(
        "SELECT max(newest) FROM analytics_pipeline.source_copies WHERE source = %(name)s", name=REPORTING_EVENTS.name
    )
    return None if source is None or copied is None else max(source - copied, timedelta(0))


_STORED = """
    SELECT toDate(created_at) AS day, count() FROM reporting_events
    WHERE day BETWEEN {first:Date} AND {last:Date}
    GROUP BY day
"""

_COVERED = """
    SELECT count(*) FROM analytics_pipeline.reporting_coverage
    WHERE date BETWEEN %(first)s AND %(last)s
"""

_GAPS = """
    SELECT account_id, date + step FROM (
        SELECT account_id, date, lead(date) OVER (PARTITION BY account_id ORDER BY date) - date AS distance
        FROM analytics_pipeline.reporting_coverage
        WHERE date BETWEEN %(first)s AND %(last)s
    ) AS covered, generate_series(1, least(distance, 50) - 1) AS step
    WHERE distance > 1
    ORDER BY 1, 2
    LIMIT 50
"""
