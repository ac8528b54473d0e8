"""Questions that stored events and rollups must answer well: are they complete, equal, plausible, fresh."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, TypeVar

from psycopg import sql

from analytics_pipeline.flows.daily_copy.ledger import between, recorded_days, source_days
from analytics_pipeline.flows.days import day_start, next_day
from analytics_pipeline.flows.reporting.accounts import accounts
from analytics_pipeline.flows.reporting.coverage import account_days, copies, coverage, stale
from analytics_pipeline.flows.reporting.registry import REGISTRY
from analytics_pipeline.flows.reporting.rollups import metric_parameters, rollup_select
from analytics_pipeline.flows.reporting.source import REPORTING_EVENTS
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.postgres import Postgres

T = TypeVar("T")

# How far from a run's days its holes are looked for.
_NEIGHBOURS = timedelta(days=7)
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


def copy_differences(postgres: Postgres, clickhouse: ClickHouse, days: Sequence[date]) -> dict[date, CopyDifference]:
    """How the copies of these neighbouring days differ; days that were never copied do not."""
    condition = between(REPORTING_EVENTS, day_start(days[0]), day_start(next_day(days[-1])))
    with postgres.ledgers.connect() as ledger, postgres.connect() as connection:
        copied = recorded_days(ledger, REPORTING_EVENTS, days)
        source = {one.day: one.rows for one in source_days(connection, postgres, REPORTING_EVENTS, condition)}
    stored = dict(clickhouse.query(_STORED, first=days[0], last=days[-1]))
    found = {
        day: CopyDifference(copy.rows, stored.get(day, 0), source.get(day, 0) - copy.refused)
        for day, (copy, _) in sorted(copied.items())
    }
    return {day: one for day, one in found.items() if not one.copied == one.stored == one.source}


def rollup_differences(
    postgres: Postgres, clickhouse: ClickHouse, day: date, limit: int = 50
) -> list[RollupDifference]:
    """Where the rollups of a local date are not what the raw events give, in counts or in sums.

    A date whose events have been copied again since is about to be computed again, and is not looked at.

    Raises:
        LeaseHeld: something is being swapped; nothing can be said of the date.
    """
    return _confirmed(postgres, lambda: _differences(postgres, clickhouse, day, limit))


def _confirmed(postgres: Postgres, look: Callable[[], list[T]]) -> list[T]:
    """What `look` finds when it looks again while nothing can be swapped.

    A swap that lands between the two sides that are read looks like a difference, also while no ledger knows of it yet.
    """
    if not look():
        return []
    with (
        postgres.lease(f"swap:{REPORTING_EVENTS.name}", patience=_PATIENCE),
        postgres.lease("reporting_rollups", patience=_PATIENCE),
    ):
        return look()


def _differences(postgres: Postgres, clickhouse: ClickHouse, day: date, limit: int) -> list[RollupDifference]:
    if _is_superseded(postgres, day):
        return []
    bounds = clickhouse.query(
        "SELECT min(starts_at), max(ends_at) FROM reporting_day_bounds FINAL WHERE date = {day:Date}"
        " HAVING count() > 0",
        day=day,
    )
    if not bounds:
        return []
    (starts_at, ends_at) = bounds[0]
    of_the_day = "(SELECT * FROM reporting_day_bounds FINAL WHERE date = {day:Date})"
    statement = _DIFFERENCES.replace("$raw", rollup_select(REGISTRY, of_the_day))
    rows = clickhouse.query(
        statement,
        day=day,
        starts_at=starts_at,
        ends_at=ends_at,
        computed_at=starts_at,
        limit=limit,
        **metric_parameters(REGISTRY),
    )
    return [RollupDifference(*row) for row in rows]


def _is_superseded(postgres: Postgres, day: date) -> bool:
    days = account_days(accounts(postgres).zoned, day, day)
    sources = copies(postgres, day - timedelta(days=2), day + timedelta(days=2))
    return "source" in stale(days, coverage(postgres, day, day), sources, REGISTRY)


def orphans(clickhouse: ClickHouse, postgres: Postgres, day: date) -> list[dict[str, Any]]:
    """Rollup rows of a date that no ledger vouches for, or that count nothing.

    Raises:
        LeaseHeld: something is being swapped; nothing can be said of the date.
    """
    return _confirmed(postgres, lambda: _orphans(clickhouse, postgres, day))


def _orphans(clickhouse: ClickHouse, postgres: Postgres, day: date) -> list[dict[str, Any]]:
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
    return [
        {"account": account, "rows": count, "smallest_count": smallest}
        for account, count, smallest in rows
        if account not in covered or smallest <= 0
    ]


def gaps(postgres: Postgres, days: Sequence[date]) -> list[tuple[int, date]]:
    """(account, date) of days that are not covered though a day before and a day after is, the first 50.

    Only these neighbouring days and the week before and after them are looked at, or, when there are none, all.
    """
    first, last = (days[0] - _NEIGHBOURS, days[-1] + _NEIGHBOURS) if days else (None, None)
    rows = postgres.query(_GAPS, first=first, last=last)
    return [(account, day) for account, day in rows]


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

_DIFFERENCES = """
    SELECT
        account_id, dimension_type, dimension_id, metric,
        if(has_stored, stored_count, NULL), if(has_raw, raw_count, NULL)
    FROM (
        SELECT
            account_id, dimension_type, dimension_id, metric,
            countIf(NOT is_raw) > 0 AS has_stored,
            countIf(is_raw) > 0 AS has_raw,
            sumIf(count, NOT is_raw) AS stored_count,
            sumIf(count, is_raw) AS raw_count,
            sumIf(sum_value, NOT is_raw) AS stored_seconds,
            sumIf(sum_value, is_raw) AS raw_seconds,
            sumIf(sum_value_business_hours, NOT is_raw) AS stored_business,
            sumIf(sum_value_business_hours, is_raw) AS raw_business
        FROM (
            SELECT
                account_id, dimension_type, dimension_id, metric, count, sum_value, sum_value_business_hours,
                false AS is_raw
            FROM reporting_rollups FINAL
            WHERE date = {day:Date}
            UNION ALL
            SELECT
                account_id, dimension_type, dimension_id, metric, count, sum_value, sum_value_business_hours, true
            FROM ($raw)
        )
        GROUP BY account_id, dimension_type, dimension_id, metric
    )
    WHERE NOT has_stored OR NOT has_raw OR stored_count <> raw_count
        OR abs(stored_seconds - raw_seconds) > 1e-9 * greatest(1, abs(raw_seconds))
        OR abs(stored_business - raw_business) > 1e-9 * greatest(1, abs(raw_business))
    ORDER BY account_id, dimension_type, dimension_id, metric
    LIMIT {limit:UInt32}
"""

_GAPS = """
    SELECT account_id, date + step FROM (
        SELECT account_id, date, lead(date) OVER (PARTITION BY account_id ORDER BY date) - date AS distance
        FROM analytics_pipeline.reporting_coverage
        WHERE date BETWEEN coalesce(%(first)s::date, '-infinity') AND coalesce(%(last)s::date, 'infinity')
    ) AS covered, generate_series(1, least(distance, 50) - 1) AS step
    WHERE distance > 1
    ORDER BY 1, 2
    LIMIT 50
"""
