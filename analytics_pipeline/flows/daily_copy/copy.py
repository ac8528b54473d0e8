"""Days of a source relation into ClickHouse: one stream into a staging table, then each day swapped at once.

Postgres writes its text format and ClickHouse reads it as TabSeparated: exact for every value, loud about what it
cannot hold, and nothing is decoded on the way, so that memory stays at a few megabytes for any number of rows.
"""

import logging
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta

import psycopg
from psycopg import sql

from analytics_pipeline.flows.daily_copy.ledger import (
    DayState,
    Snapshot,
    between,
    copied_days,
    day_states,
    record,
    snapshot,
)
from analytics_pipeline.flows.daily_copy.source import DaySource, day_start, next_day
from analytics_pipeline.flows.dead_letters import DeadLetter, replace_dead_letters
from analytics_pipeline.resources.clickhouse import ClickHouse
from analytics_pipeline.resources.clickhouse_errors import is_transient, retrying
from analytics_pipeline.resources.postgres import Connection, Postgres

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 20
_REPORT_SECONDS = 10.0
# Swaps of a year take seconds; a run that waits longer than this for another one's has found a broken one.
_SWAP_PATIENCE = timedelta(minutes=10)
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

        All days are read at one moment. A day that another run has copied at a later moment meanwhile keeps that copy.

        Raises:
            IncompleteCopy: the days stay as they were.
        """
        return retrying(self.clickhouse.attempts, is_transient)(self._copy, first, last)

    def _copy(self, first: date, last: date) -> list[DayState]:
        days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        condition = between(self.source, day_start(first), day_start(next_day(last)))
        with self._reading() as connection, self.clickhouse.staging(self.source.table) as staging:
            at = snapshot(connection)
            found = {state.day: state for state in day_states(connection, self.postgres, self.source, condition)}
            states = [found.get(day, DayState(day, 0, 0, None)) for day in days]
            letters = {state.day: self._refused(connection, state.day) for state in states if state.refused}
            if any(state.rows for state in states):
                self._stream(connection, self._accepted(states, condition), staging)
            self._verify(staging, states)
            self._swap(staging, states, at, letters)
        return states

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """A transaction that sees one moment, with the text formats that ClickHouse reads."""
        with closing(self.postgres.open()) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            with connection:
                connection.execute("SET LOCAL timezone = 'UTC'")
                connection.execute("SET LOCAL datestyle = 'ISO'")
                connection.execute("SET LOCAL extra_float_digits = 3")
                yield connection

    def _accepted(self, states: Sequence[DayState], condition: sql.Composable) -> sql.Composed:
        """The rows to send. When none is refused at this moment, asking each again would double Postgres's work."""
        is_any_refused = any(state.refused for state in states)
        source = self.source if is_any_refused else replace(self.source, refusal=sql.SQL("NULL::text"))
        return source.rows(self.postgres, sql.SQL(", ").join(map(sql.SQL, source.columns.values())), condition)

    def _stream(self, connection: Connection, rows_to_send: sql.Composed, staging: str) -> None:
        statement = sql.SQL("COPY ({}) TO STDOUT").format(rows_to_send)

        def body() -> Generator[bytes, None, None]:
            with connection.cursor() as cursor, cursor.copy(statement) as rows:
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

    def _verify(self, staging: str, states: Sequence[DayState]) -> None:
        stored = self.clickhouse.scalar(f"SELECT count() FROM {staging}")
        sent = sum(state.rows for state in states)
        if stored != sent:
            raise IncompleteCopy(
                f"Of {sent} rows of {self.source.name} ClickHouse stored {stored}; the days stay as they were."
                " Materialise them again"
            )

    def _swap(
        self, staging: str, states: Sequence[DayState], at: Snapshot, letters: Mapping[date, Sequence[DeadLetter]]
    ) -> None:
        """Swap and record under one lease, so that the ledger never tells of another copy than ClickHouse holds."""
        with (
            self.postgres.lease(f"swap:{self.source.name}", patience=_SWAP_PATIENCE),
            self.postgres.connect() as connection,
        ):
            copied = copied_days(connection, self.source, [state.day for state in states])
            older = [s for s in states if s.day not in copied or copied[s.day][1].taken_at <= at.taken_at]
            held = set(self.clickhouse.partitions(staging)) | set(self.clickhouse.partitions(self.source.table))
            partitions = [f"{state.day:%Y%m%d}" for state in older]
            self.clickhouse.replace_partitions(self.source.table, staging, [p for p in partitions if p in held])
            for state in older:
                if state.refused or (state.day in copied and copied[state.day][0].refused):
                    unit, refused = state.day.isoformat(), letters.get(state.day, [])
                    replace_dead_letters(self.postgres, self.source.name, unit, refused, self.run_id)
            record(connection, self.source, older, at, self.run_id)

    def _refused(self, connection: Connection, day: date) -> list[DeadLetter]:
        what = sql.SQL("source.id::text, ({})::text, to_jsonb(source)::text").format(self.source.refusal)
        condition = between(self.source, day_start(day), day_start(next_day(day)))
        refused = self.source.rows(self.postgres, what, condition, refused=True)
        limited = sql.SQL("{} ORDER BY source.id LIMIT {}").format(refused, sql.Literal(DEAD_LETTERS_KEPT))
        return [DeadLetter(*row) for row in connection.execute(limited)]


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
