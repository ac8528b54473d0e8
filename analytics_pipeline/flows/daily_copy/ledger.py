"""The ledger `source_copies`: what the last copy of each source day held, and how far changes are known."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from psycopg import sql

from analytics_pipeline.flows.daily_copy.source import DaySource
from analytics_pipeline.resources.postgres import Connection, Postgres

# How long after a row's own time stamp it may still commit unseen: clocks of application servers differ, and a role
# without pg_read_all_stats does not see how old other sessions' transactions are.
SETTLE = timedelta(minutes=5)


@dataclass(frozen=True)
class SourceDay:
    """A UTC day of the source: how many rows it has, whatever they are, and the newest change (None: no rows)."""

    day: date
    rows: int
    newest: datetime | None


@dataclass(frozen=True)
class DayState:
    """What a copy of a day holds: its rows, how many were refused, and the newest change among them all."""

    day: date
    rows: int
    refused: int
    newest: datetime | None

    def is_of(self, source: SourceDay) -> bool:
        """Whether the source's day is as it was when it was copied."""
        return (self.rows + self.refused, self.newest) == (source.rows, source.newest)


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
    statement = sql.SQL(
        "SELECT {day}::date, count(*), max({changed}) FILTER (WHERE isfinite({changed}))::timestamptz"
        " FROM {relation} AS source WHERE {condition} GROUP BY 1 ORDER BY 1"
    ).format(
        day=sql.SQL(source.day),
        changed=sql.SQL(source.changed),
        relation=postgres.relation(source.relation),
        condition=condition,
    )
    return [SourceDay(*row) for row in connection.execute(statement)]


def between(source: DaySource, start: datetime, end: datetime) -> sql.Composed:
    """The condition that a row's day lies in [start, end), both starts of UTC days."""
    return sql.SQL("{day} >= {start} AND {day} < {end}").format(
        day=sql.SQL(source.day), start=sql.Literal(start), end=sql.Literal(end)
    )


def copied_days(
    connection: Connection, source: DaySource, days: Sequence[date]
) -> dict[date, tuple[DayState, Snapshot]]:
    """What the last copy of each of the days held and when it was read; days that were never copied are absent."""
    rows = connection.execute(_COPIED, [source.name, list(days)])
    return {row[0]: (DayState(*row[:4]), Snapshot(*row[4:])) for row in rows}


def record(connection: Connection, source: DaySource, states: Sequence[DayState], at: Snapshot, run_id: str) -> None:
    """These days are in ClickHouse as the source held them at `at`."""
    connection.cursor().executemany(
        _RECORD,
        [[source.name, one.day, one.rows, one.refused, one.newest, at.taken_at, at.horizon, run_id] for one in states],
    )


_SNAPSHOT = """
    SELECT now(), least(
        now() - %s::interval,
        (
            SELECT min(xact_start) FROM pg_stat_activity
            WHERE backend_type = 'client backend' AND datname = current_database() AND pid <> pg_backend_pid()
        ),
        (SELECT min(prepared) FROM pg_prepared_xacts WHERE database = current_database())
    )
"""

_COPIED = """
    SELECT day, rows, refused, newest, copied_at, horizon FROM analytics_pipeline.source_copies
    WHERE source = %s AND day = ANY(%s)
"""

_RECORD = """
    INSERT INTO analytics_pipeline.source_copies (
        source, day, rows, refused, newest, copied_at, horizon, swapped_at, run_id
    )
    VALUES (%s, %s, %s, %s, %s, %s, %s, clock_timestamp(), %s)
    ON CONFLICT (source, day) DO UPDATE SET
        rows = excluded.rows,
        refused = excluded.refused,
        newest = excluded.newest,
        copied_at = excluded.copied_at,
        horizon = excluded.horizon,
        swapped_at = excluded.swapped_at,
        run_id = excluded.run_id
"""
