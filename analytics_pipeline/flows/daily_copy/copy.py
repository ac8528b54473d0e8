"""Days of a source relation into ClickHouse: one stream into a staging table, then each day swapped at once.

Postgres writes its text format and ClickHouse reads it as TabSeparated: exact for every value, loud about what it
cannot hold, and nothing is decoded on the way, so that memory stays at a few megabytes for any number of rows.
"""

import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta

import psycopg
from psycopg import sql

from analytics_pipeline.flows.daily_copy.ledger import (
    DayState,
    Snapshot,
    SourceDay,
    between,
    copied_days,
    record,
    snapshot,
    source_days,
)
from analytics_pipeline.flows.daily_copy.source import DaySource, day_start, next_day
from analytics_pipeline.flows.dead_letters import DeadLetter, replace_dead_letters
from analytics_pipeline.resources.clickhouse import ClickHouse, quoted
from analytics_pipeline.resources.clickhouse_errors import is_transient, retrying
from analytics_pipeline.resources.postgres import Connection, Postgres

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 20
_REPORT_SECONDS = 10.0
# Swaps of a year take seconds; a run that waits longer than this for another one's has found a broken one.
_SWAP_PATIENCE = timedelta(minutes=10)
# One stream is one statement, which has to end within CLICKHOUSE_TIMEOUT_SECONDS.
ROWS_PER_PIECE = 10_000_000
# Of a day's refused rows this many are kept; all are counted.
DEAD_LETTERS_KEPT = 1_000

Progress = Callable[[int], None]


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

        All days are read at one moment. They are streamed together, or in pieces when they have very many rows: what
        is swapped stays when a later piece fails. A day that another run has copied at a later moment meanwhile keeps
        that copy.

        Raises:
            IncompleteCopy: the days of the piece stay as they were.
        """
        return retrying(self.clickhouse.attempts, is_transient)(self._copy, first, last)

    def _copy(self, first: date, last: date) -> list[DayState]:
        with self._reading() as connection:
            at = snapshot(connection)
            condition = between(self.source, day_start(first), day_start(next_day(last)))
            found = {one.day: one for one in source_days(connection, self.postgres, self.source, condition)}
            days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
            pieces = _pieces([found.get(day, SourceDay(day, 0, None)) for day in days])
            return [state for piece in pieces for state in self._copy_piece(connection, piece, at)]

    def _copy_piece(self, connection: Connection, days: Sequence[SourceDay], at: Snapshot) -> list[DayState]:
        with self.clickhouse.staging(self.source.table) as staging:
            sent = self._stream(connection, days, staging) if any(day.rows for day in days) else 0
            states = self._staged(staging, days, sent)
            self._swap(connection, staging, states, at)
        return states

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """A transaction that sees one moment, with the text formats that ClickHouse reads."""
        with closing(self.postgres.open()) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            with connection:
                connection.execute("SET LOCAL datestyle = 'ISO'")
                connection.execute("SET LOCAL extra_float_digits = 3")
                yield connection

    def _stream(self, connection: Connection, days: Sequence[SourceDay], staging: str) -> int:
        """Send the accepted rows of these neighbouring days; returns how many Postgres sent."""
        condition = between(self.source, day_start(days[0].day), day_start(next_day(days[-1].day)))
        what = sql.SQL(", ").join(map(sql.SQL, self.source.columns.values()))
        statement = sql.SQL("COPY ({}) TO STDOUT").format(self.source.rows(self.postgres, what, condition))
        with connection.cursor() as cursor:

            def body() -> Generator[bytes, None, None]:
                with cursor.copy(statement) as rows:
                    yield from self._reported(_chunks(rows))

            # Once: after a failure the staging table holds a part, and only a new one is empty.
            once = replace(self.clickhouse, attempts=1)
            once.insert_stream(
                staging,
                list(self.source.columns),
                body,
                fmt="TabSeparated",
                settings={"date_time_input_format": "best_effort", "max_partitions_per_insert_block": 0},
            )
            return cursor.rowcount

    def _reported(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        began = reported = time.monotonic()
        sent = 0
        for chunk in chunks:
            yield chunk
            sent += len(chunk)
            self.progress(len(chunk))
            if (now := time.monotonic()) - reported > _REPORT_SECONDS:
                reported = now
                logger.info("%s: %d MB sent, %.1f MB/s", self.source.name, sent >> 20, sent / (now - began) / 2**20)

    def _staged(self, staging: str, days: Sequence[SourceDay], sent: int) -> list[DayState]:
        """What the staging table holds of each day. All of what was sent has to be there; the rest was refused."""
        counted = self.clickhouse.query(f"SELECT _partition_id, count() FROM {quoted(staging)} GROUP BY _partition_id")
        stored: dict[str, int] = dict(counted)
        if sum(stored.values()) != sent:
            raise IncompleteCopy(
                f"Of {sent} rows of {self.source.name} ClickHouse stored {sum(stored.values())}; the days stay as they"
                " were. Materialise them again"
            )
        held = [(day, stored.get(_partition(day.day), 0)) for day in days]
        return [DayState(day.day, rows, day.rows - rows, day.newest) for day, rows in held]

    def _swap(self, connection: Connection, staging: str, states: Sequence[DayState], at: Snapshot) -> None:
        """Swap and record under one lease, so that the ledger never tells of another copy than ClickHouse holds."""
        with (
            self.postgres.lease(f"swap:{self.source.name}", patience=_SWAP_PATIENCE),
            self.postgres.connect() as ledger,
        ):
            copied = copied_days(ledger, self.source, [state.day for state in states])
            older = [s for s in states if s.day not in copied or copied[s.day][1].taken_at <= at.taken_at]
            held = set(self.clickhouse.partitions(staging)) | set(self.clickhouse.partitions(self.source.table))
            partitions = [_partition(state.day) for state in older]
            self.clickhouse.replace_partitions(self.source.table, staging, [p for p in partitions if p in held])
            for state in older:
                if state.refused or (state.day in copied and copied[state.day][0].refused):
                    # One day's at a time: they are whole rows.
                    refused = self._refused(connection, state.day)
                    replace_dead_letters(self.postgres, self.source.name, state.day.isoformat(), refused, self.run_id)
            record(ledger, self.source, older, at, self.run_id)

    def _refused(self, connection: Connection, day: date) -> list[DeadLetter]:
        what = sql.SQL("source.id::text, ({})::text, to_jsonb(source)::text").format(self.source.refusal)
        condition = between(self.source, day_start(day), day_start(next_day(day)))
        refused = self.source.rows(self.postgres, what, condition, refused=True)
        limited = sql.SQL("{} ORDER BY source.id LIMIT {}").format(refused, sql.Literal(DEAD_LETTERS_KEPT))
        return [DeadLetter(*row) for row in connection.execute(limited)]


def _pieces(days: Sequence[SourceDay]) -> Iterator[list[SourceDay]]:
    """The days in order, so many together as a stream may hold; a day that is larger is a piece by itself."""
    piece: list[SourceDay] = []
    for day in days:
        if piece and sum(one.rows for one in piece) + day.rows > ROWS_PER_PIECE:
            yield piece
            piece = []
        piece.append(day)
    yield piece


def _partition(day: date) -> str:
    return f"{day:%Y%m%d}"


def _chunks(rows: psycopg.Copy) -> Iterator[bytes]:
    """The stream in pieces of about a megabyte: row by row, the request would be mostly framing."""
    buffer = bytearray()
    for row in rows:
        buffer += row
        if len(buffer) >= _CHUNK_BYTES:
            yield bytes(buffer)
            buffer.clear()
    if buffer:
        yield bytes(buffer)
