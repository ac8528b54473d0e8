"""The ledger `source_copies`: what the last copy of each source day held, and how far changes are known."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from operator import attrgetter

from psycopg import sql
from typing_extensions import LiteralString

from analytics_pipeline.flows.daily_copy.source import DaySource
from analytics_pipeline.resources.postgres import Connection, Postgres

# How long before its transaction began a row's own time stamp may lie: an application sets it by its own clock, often
# before it opens the transaction. And a role without pg_read_all_stats does not see how old others' transactions are.
SETTLE = timedelta(minutes=5)
# Sums of a day's changes are kept as a bigint.
CHANGES_MODULUS = 2**63


@dataclass(frozen=True)
class SourceDay:
    """A UTC day of the source: how many rows it has, whatever they are, and when they changed.

    `newest` is the last known change (None: there is none); `changes` is the sum of all known ones, because a change
    may commit after a newer one: in milliseconds since 1970, of which the remainder by 2**63 is kept.
    """

    day: date
    rows: int = 0
    newest: datetime | None = None
    changes: int = 0

    def copied(self, rows: int) -> "DayState":
        """The day when a copy of it holds so many rows; the others were refused."""
        return DayState(self.day, rows, self.rows - rows, self.newest, self.changes)


@dataclass(frozen=True)
class DayState:
    """Contents of the copy of a day: its rows, how many were refused, and the changes of them all as in `SourceDay`.

    `changes` is None for a copy that was made before they were recorded.
    """

    day: date
    rows: int
    refused: int
    newest: datetime | None
    changes: int | None

    def is_of(self, source: SourceDay) -> bool:
        """Whether the source's day is as it was when it was copied."""
        known = source.changes if self.changes is None else self.changes
        return (self.rows + self.refused, self.newest, known) == (source.rows, source.newest, source.changes)


@dataclass(frozen=True)
class Snapshot:
    """A moment of the source (UTC). Every change before `horizon` has been committed and is visible in it."""

    taken_at: datetime
    horizon: datetime


def snapshot(connection: Connection) -> Snapshot:
    """The moment that the connection's transaction sees; to be asked first in it."""
    (taken_at, horizon) = connection.execute(_SNAPSHOT, [SETTLE]).fetchall()[0]
    return Snapshot(taken_at, horizon)


def source_days(
    connection: Connection, postgres: Postgres, source: DaySource, condition: sql.Composable
) -> list[SourceDay]:
    """Each UTC day that has rows where `condition` holds, in order.

    Whether a row is acceptable is not asked here: it would cost more than all the rest.
    """
    statement = sql.SQL(_SOURCE_DAYS).format(
        day=sql.SQL(source.day),
        change=source.change,
        modulus=sql.Literal(Decimal(CHANGES_MODULUS)),
        relation=postgres.relation(source.relation),
        condition=condition,
    )
    return sorted((SourceDay(*row) for row in connection.execute(statement)), key=attrgetter("day"))


def merged(parts: Iterable[Sequence[SourceDay]]) -> list[SourceDay]:
    """The days of a source that was asked in parts, of which two may have told of the same day; in order."""
    days: dict[date, SourceDay] = {}
    for found in (day for part in parts for day in part):
        one = days.get(found.day, SourceDay(found.day))
        newest = max(filter(None, (one.newest, found.newest)), default=None)
        total = one.changes + found.changes
        days[found.day] = SourceDay(found.day, one.rows + found.rows, newest, remainder(total))
    return [days[day] for day in sorted(days)]


def remainder(total: int) -> int:
    """The part of a sum of changes that is kept: with the sign of the total, as in SQL."""
    return total % CHANGES_MODULUS if total >= 0 else -(-total % CHANGES_MODULUS)


def counted_rows(connection: Connection, postgres: Postgres, source: DaySource, condition: sql.Composable) -> int:
    """How many rows there are where `condition` holds, whether they are acceptable or not."""
    statement = sql.SQL("SELECT count(*) FROM {} AS source WHERE {}")
    ((rows,),) = connection.execute(statement.format(postgres.relation(source.relation), condition)).fetchall()
    return int(rows)


def estimated_rows(connection: Connection, postgres: Postgres, source: DaySource, condition: sql.Composable) -> int:
    """How many rows Postgres expects where `condition` holds, as in `planned`."""
    rows, _ = planned(connection, postgres, source, condition)
    return rows


def planned(
    connection: Connection, postgres: Postgres, source: DaySource, condition: sql.Composable
) -> tuple[int, int]:
    """How many rows Postgres expects where `condition` holds, and bytes of each. It answers from its statistics.

    Raises:
        psycopg.Error: a column is missing, or is not what the source takes it for.
    """
    what = sql.SQL(", ").join([*map(sql.SQL, source.columns.values()), source.refusal])
    statement = sql.SQL("EXPLAIN (FORMAT JSON) ") + source.select(postgres, what, condition)
    (([plan],),) = connection.execute(statement).fetchall()
    return int(plan["Plan"]["Plan Rows"]), int(plan["Plan"]["Plan Width"])


def between(source: DaySource, start: datetime, end: datetime) -> sql.Composed:
    """The condition that a row's day lies in [start, end), both starts of UTC days."""
    return sql.SQL("{day} >= {start} AND {day} < {end}").format(
        day=sql.SQL(source.day), start=sql.Literal(start), end=sql.Literal(end)
    )


def copied_days(
    connection: Connection, source: DaySource, days: Sequence[date]
) -> dict[date, tuple[DayState, Snapshot]]:
    """Contents of the last copy of each of the days, and when it was read.

    Days that were never copied are absent, and those whose copy has been lost since.
    """
    return _copies(connection, _HELD, source, days)


def recorded_days(
    connection: Connection, source: DaySource, days: Sequence[date]
) -> dict[date, tuple[DayState, Snapshot]]:
    """The same of every day that was ever copied, whatever has become of the copy."""
    return _copies(connection, _COPIED, source, days)


def _copies(
    connection: Connection, statement: LiteralString, source: DaySource, days: Sequence[date]
) -> dict[date, tuple[DayState, Snapshot]]:
    rows = connection.execute(statement, [source.name, list(days)])
    return {row[0]: (DayState(*row[:5]), Snapshot(*row[5:])) for row in rows}


def record(connection: Connection, source: DaySource, states: Sequence[DayState], at: Snapshot, run_id: str) -> None:
    """These days are in ClickHouse as the source held them at `at`."""
    connection.cursor().executemany(
        _RECORD,
        [
            [source.name, one.day, one.rows, one.refused, one.newest, one.changes, at.taken_at, at.horizon, run_id]
            for one in states
        ],
    )


# OFFSET 0 keeps Postgres from looking into the sub-select: it would expect a group for each row, and sort them all.
_SOURCE_DAYS = """
    SELECT
        day::date,
        count(*),
        max(change)::timestamptz,
        coalesce(sum((date_part('epoch', change) * 1000)::bigint) % {modulus}, 0)::bigint
    FROM (
        SELECT date_bin('1 day', {day}, '1970-01-01') AS day, {change} AS change FROM {relation} AS source
        WHERE {condition}
        OFFSET 0
    ) AS changed
    GROUP BY day
"""

_SNAPSHOT = """
    SELECT now(), least(
        now(),
        (
            SELECT min(xact_start) FROM pg_stat_activity
            WHERE backend_type = 'client backend' AND datname = current_database() AND pid <> pg_backend_pid()
        ),
        (SELECT min(prepared) FROM pg_prepared_xacts WHERE database = current_database()),
        -- A replica knows nothing of what is open on its primary, and lags behind it.
        CASE WHEN pg_is_in_recovery() THEN pg_last_xact_replay_timestamp() END
    ) - %s::interval
"""

_COPIED = """
    SELECT day, rows, refused, newest, changes, copied_at, horizon FROM analytics_pipeline.source_copies
    WHERE source = %s AND day = ANY(%s)
"""

_HELD = _COPIED.replace("source_copies", "held_copies")

_RECORD = """
    INSERT INTO analytics_pipeline.source_copies (
        source, day, rows, refused, newest, changes, copied_at, horizon, swapped_at, run_id
    )
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, clock_timestamp(), %s)
    ON CONFLICT (source, day) DO UPDATE SET
        rows = excluded.rows,
        refused = excluded.refused,
        newest = excluded.newest,
        changes = excluded.changes,
        copied_at = excluded.copied_at,
        horizon = excluded.horizon,
        swapped_at = excluded.swapped_at,
        run_id = excluded.run_id
"""
