"""Days of a source relation into ClickHouse: one stream into a staging table, then each day swapped at once.

Postgres writes its binary format, ADBC turns it into Arrow, and ClickHouse reads that: exact for every value, and no
row is touched by Python, so that memory stays at a few megabytes for any number of rows.
"""

import logging
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TypeAlias, TypeVar

import psycopg
from psycopg import sql

from analytics_pipeline.flows.daily_copy.ledger import (
    CHANGES_MODULUS,
    DayState,
    Snapshot,
    SourceDay,
    between,
    copied_days,
    counted_rows,
    estimated_rows,
    record,
    snapshot,
    source_days,
)
from analytics_pipeline.flows.daily_copy.refusals import dead_letters
from analytics_pipeline.flows.daily_copy.source import DaySource
from analytics_pipeline.flows.daily_copy.typed import as_found
from analytics_pipeline.flows.days import day_start, next_day
from analytics_pipeline.flows.dead_letters import replace_dead_letters, units_with_dead_letters
from analytics_pipeline.flows.held_days import swap_days
from analytics_pipeline.resources.arrow import arrow_stream, exported_snapshot
from analytics_pipeline.resources.clickhouse.client import ClickHouse, day_partition, quoted
from analytics_pipeline.resources.clickhouse.errors import is_transient, retrying
from analytics_pipeline.resources.postgres import Connection, Postgres

logger = logging.getLogger(__name__)

_REPORT_SECONDS = 10.0
# Swaps of a year take seconds; a run that waits longer than this for another one's has found a broken one.
_SWAP_PATIENCE = timedelta(minutes=10)
# One stream is one statement, which has to end within CLICKHOUSE_TIMEOUT_SECONDS.
ROWS_PER_PIECE = 10_000_000
# Two at a time keep Postgres and ClickHouse busy, of which each works for a stream with one processor; and while one is
# swapped, another streams. Many would read a table often that has no index on its days.
PIECES_AT_ONCE, PIECES = 2, 4
_WORTH_A_PIECE = 250_000
# Of a million, as is usual, ClickHouse would write nothing until they are there: it and the stream would take turns.
_BLOCK_ROWS = 1 << 18

Answer = TypeVar("Answer")
Progress = Callable[[int], None]
Counted: TypeAlias = "Future[int]"


class IncompleteCopy(Exception):
    """ClickHouse did not store as many rows as Postgres sent; nothing was swapped."""


@dataclass(frozen=True)
class DayCopy:
    """Copies days of one source on behalf of one run. `progress` hears how many bytes have been sent since the last."""

    source: DaySource
    postgres: Postgres
    clickhouse: ClickHouse
    run_id: str
    progress: Progress = lambda _: None

    def copy(self, first: date, last: date) -> list[DayState]:
        """Replace the days from `first` to `last`, both inclusive; returns each, also the empty ones.

        All days are read at one moment. They go together, or in pieces when they have very many rows: what is swapped
        stays when another piece fails. A day that another run has copied at a later moment meanwhile keeps that copy.

        Raises:
            IncompleteCopy: the days of the piece stay as they were.
            WrongTypes: columns of the source cannot be read; nothing was copied.
        """
        return replace(self, source=as_found(self.postgres, self.source))._copy(first, last)

    def _copy(self, first: date, last: date) -> list[DayState]:
        days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        with (
            self._reading() as reading,
            self._beside(reading) as beside,
            ThreadPoolExecutor(1, "count") as counter,
            ThreadPoolExecutor(PIECES_AT_ONCE, "copy") as workers,
        ):
            pieces = _pieces(days, self._ask(estimated_rows, reading.connection, days))
            # Counted beside the first streams; a piece waits for its own before it is swapped.
            counted = [counter.submit(self._ask, counted_rows, beside, piece) for piece in pieces]
            try:
                copied = workers.map(lambda piece, rows: self._copy_piece(reading, piece, rows), pieces, counted)
                return [state for states in copied for state in states]
            finally:
                counter.shutdown(wait=False, cancel_futures=True)

    def _copy_piece(self, reading: "_Reading", days: Sequence[date], counted: Counted) -> list[DayState]:
        attempt = retrying(self.clickhouse.attempts, is_transient)
        try:
            return attempt(self._try_piece, reading, days, counted)
        except IncompleteCopy:
            if not self.source.key or self.source.is_distinct:
                raise
            # The table took two rows for one. They are told apart by sorting, which is not for every copy.
            distinct = replace(self, source=replace(self.source, is_distinct=True))
            return attempt(distinct._try_piece, reading, days, counted)

    def _try_piece(self, reading: "_Reading", days: Sequence[date], counted: Counted) -> list[DayState]:
        with self.clickhouse.staging(self.source.table) as staging:
            sent = self._stream(reading, days, staging)
            stored = self._stored(staging, days, sent)
            # What was refused is not there. Asking Postgres for everything costs more than all the rest, but is rare.
            whole = counted.result() == sent
            found = stored if whole else self._ask(source_days, reading.connection, days)
            states = _states(days, {day.day: day.rows for day in stored}, found)
            self._swap(reading, staging, states)
        return states

    def _ask(
        self,
        question: Callable[[Connection, Postgres, DaySource, sql.Composable], Answer],
        connection: Connection,
        days: Sequence[date],
    ) -> Answer:
        return question(connection, self.postgres, self.source, self._between(days))

    def _between(self, days: Sequence[date]) -> sql.Composed:
        """The condition of neighbouring days."""
        return between(self.source, day_start(days[0]), day_start(next_day(days[-1])))

    @contextmanager
    def _reading(self) -> Iterator["_Reading"]:
        with closing(self.postgres.open()) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            with connection:
                yield _Reading(connection, snapshot(connection), exported_snapshot(connection))

    @contextmanager
    def _beside(self, reading: "_Reading") -> Iterator[Connection]:
        """A connection that sees the same moment, so that neither has to wait for what the other asks."""
        with closing(self.postgres.open()) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            with connection:
                connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(reading.exported)))
                yield connection

    def _stream(self, reading: "_Reading", days: Sequence[date], staging: str) -> int:
        """Send the accepted rows of these neighbouring days; returns how many Postgres sent."""
        # Arrow is read by name.
        what = sql.SQL(", ").join(
            sql.SQL("{} AS {}").format(sql.SQL(value), sql.Identifier(column))
            for column, value in self.source.columns.items()
        )
        sent = 0

        def body() -> Generator[bytes, None, None]:
            nonlocal sent
            for part in parts:
                sent += part.rows
                yield part.content

        statement = self.source.rows(self.postgres, what, self._between(days)).as_string(reading.connection)
        with arrow_stream(self.postgres, statement, reading.exported) as parts:
            # Once: after a failure the staging table holds a part, and only a new one is empty.
            replace(self.clickhouse, attempts=1).insert_stream(
                staging,
                list(self.source.columns),
                lambda: self._reported(body()),
                fmt="ArrowStream",
                settings={"max_partitions_per_insert_block": 0, "min_insert_block_size_rows": _BLOCK_ROWS},
            )
        return sent

    def _reported(self, chunks: Iterator[bytes]) -> Generator[bytes, None, None]:
        began = reported = time.monotonic()
        sent = 0
        for chunk in chunks:
            yield chunk
            sent += len(chunk)
            self.progress(len(chunk))
            if (now := time.monotonic()) - reported > _REPORT_SECONDS:
                reported = now
                logger.info("%s: %d MB sent, %.1f MB/s", self.source.name, sent >> 20, sent / (now - began) / 2**20)

    def _stored(self, staging: str, days: Sequence[date], sent: int) -> list[SourceDay]:
        """Each day that the staging table has rows of. All of what was sent has to be there."""
        day_of = {day_partition(day): day for day in days}
        rows = self.clickhouse.query(
            _STAGED_DAYS.format(
                change=quoted(self.source.change_column),
                staging=quoted(staging),
                final="FINAL" if self.source.key else "",
            )
        )
        stored = [SourceDay(day_of[id_], count, newest, _remainder(total)) for id_, count, newest, total in rows]
        if (count := sum(day.rows for day in stored)) != sent:
            raise IncompleteCopy(
                f"Of {sent} rows of {self.source.name} ClickHouse stored {count}; the days stay as they were."
                " Materialise them again"
            )
        return stored

    def _swap(self, reading: "_Reading", staging: str, states: Sequence[DayState]) -> None:
        """Swap and record under one lease, so that the ledger never tells of another copy than ClickHouse holds."""
        held = self.source.held
        with self.postgres.lease(held.lease, patience=_SWAP_PATIENCE), self.postgres.connect() as ledger:
            copied = copied_days(ledger, self.source, [state.day for state in states])
            older = [s for s in states if s.day not in copied or copied[s.day][1].taken_at <= reading.at.taken_at]
            days = [state.day for state in older]
            left_out = [state.day for state in states if state not in older]
            swap_days(self.clickhouse, ledger, held, staging, days, left_out)
            for day in self._days_with_dead_letters(staging, older):
                # One day's at a time: they are whole rows.
                letters = self._ask(dead_letters, reading.connection, [day])
                replace_dead_letters(self.postgres, self.source.name, day.isoformat(), letters, self.run_id)
            record(ledger, self.source, older, reading.at, self.run_id)

    def _days_with_dead_letters(self, staging: str, states: Sequence[DayState]) -> list[date]:
        """The days that had any before, or that have rows now that were refused, or kept without a part of them."""
        units = {state.day.isoformat(): state.day for state in states}
        earlier = {units[unit] for unit in units_with_dead_letters(self.postgres, self.source.name, list(units))}
        refused = {state.day for state in states if state.refused}
        return sorted(earlier | refused | (self._lossy(staging) & {*units.values()}))

    def _lossy(self, staging: str) -> set[date]:
        if self.source.loss_column is None:
            return set()
        loss, day = quoted(self.source.loss_column), quoted(self.source.day.removeprefix("source."))
        rows = self.clickhouse.query(f"SELECT DISTINCT toDate({day}) FROM {quoted(staging)} WHERE {loss} != ''")
        return {found for (found,) in rows}


@dataclass(frozen=True)
class _Reading:
    """A transaction that sees one moment, which other connections can see as `exported`."""

    connection: Connection
    at: Snapshot
    exported: str


def _states(days: Sequence[date], stored: Mapping[date, int], found: Sequence[SourceDay]) -> list[DayState]:
    """What a copy of each of the days holds, also of the empty ones."""
    of_source = {one.day: one for one in found}
    return [of_source.get(day, SourceDay(day)).copied(stored.get(day, 0)) for day in days]


def _remainder(total: int) -> int:
    """With the sign of the total, as in SQL."""
    return total % CHANGES_MODULUS if total >= 0 else -(-total % CHANGES_MODULUS)


def _pieces(days: Sequence[date], rows: int) -> list[Sequence[date]]:
    """The days in order, in groups of neighbours that have about as many rows each."""
    wanted = max(min(PIECES, rows // _WORTH_A_PIECE), rows // ROWS_PER_PIECE, 1)
    length = -(-len(days) // wanted)
    return [days[start : start + length] for start in range(0, len(days), length)]


# The same as `source_days` counts at the source, rounded alike.
_STAGED_DAYS = """
    SELECT
        _partition_id,
        count(),
        max({change}),
        ifNull(sum(toInt128(round(toUnixTimestamp64Micro({change}) / 1e6 * 1000))), 0)
    FROM {staging} {final}
    GROUP BY _partition_id
    SETTINGS do_not_merge_across_partitions_select_final = 1
"""
