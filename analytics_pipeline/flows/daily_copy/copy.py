"""Days of a source relation into ClickHouse: one stream into a staging table, then each day swapped at once.

Postgres writes its binary format, ADBC turns it into Arrow, and ClickHouse reads that: exact for every value, and no
row is touched by Python, so that memory stays at a few megabytes for any number of rows.
"""

import logging
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TypeAlias

from psycopg import sql

from analytics_pipeline.flows.daily_copy.ledger import (
    DayState,
    SourceDay,
    copied_days,
    counted_rows,
    estimated_rows,
    merged,
    record,
    remainder,
    source_days,
)
from analytics_pipeline.flows.daily_copy.reading import Reading, Span, gave_way, reading, span_of
from analytics_pipeline.flows.daily_copy.source import DaySource
from analytics_pipeline.flows.dead_letters import DeadLetter, replace_dead_letters
from analytics_pipeline.resources.arrow import LockHeldTooLong, arrow_stream
from analytics_pipeline.resources.clickhouse.client import ClickHouse, day_partition, quoted
from analytics_pipeline.resources.clickhouse.errors import is_transient, retrying
from analytics_pipeline.resources.postgres import Connection, Postgres

logger = logging.getLogger(__name__)

_REPORT_SECONDS = 10.0
# Swaps of a year take seconds; a run that waits longer than this for another one's has found a broken one.
_SWAP_PATIENCE = timedelta(minutes=10)
# One stream is one statement, which has to end within CLICKHOUSE_TIMEOUT_SECONDS, and within COPY_LOCK_SECONDS even
# where it is several times as slow as usual; one that is slower still is cut.
ROWS_PER_PIECE, ROWS_PER_SECOND = 10_000_000, 50_000
# Two at a time keep Postgres and ClickHouse busy, of which each works for a stream with one processor; and while one is
# swapped, another streams. Many would read a table often that has no index on its days.
PIECES_AT_ONCE, PIECES = 2, 4
_WORTH_A_PIECE = 250_000
# Of a million, as is usual, ClickHouse would write nothing until they are there: it and the stream would take turns.
_BLOCK_ROWS = 1 << 18
# Of a day's refused rows this many are kept; all are counted.
DEAD_LETTERS_KEPT = 1_000

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
        """
        days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        with (
            reading(self.postgres, self.source, self.clickhouse.attempts) as moment,
            ThreadPoolExecutor(1, "count") as counter,
            ThreadPoolExecutor(PIECES_AT_ONCE, "copy") as workers,
            moment.interruptible(),
        ):
            pieces = _pieces(days, sum(moment.ask(estimated_rows, span_of(days))), self.postgres.lock_seconds)
            # Counted beside the first streams; a piece waits for its own before it is swapped.
            counted = [counter.submit(_counted, moment, piece) for piece in pieces]
            try:
                copied = workers.map(lambda piece, rows: self._copy_piece(moment, piece, rows), pieces, counted)
                return [state for states in copied for state in states]
            finally:
                counter.shutdown(wait=False, cancel_futures=True)

    def _copy_piece(self, moment: Reading, days: Sequence[date], counted: Counted) -> list[DayState]:
        attempts = retrying(self.clickhouse.attempts, _passes_soon, moment.stop)
        return attempts(self._try_piece, moment, days, counted)

    def _try_piece(self, moment: Reading, days: Sequence[date], counted: Counted) -> list[DayState]:
        with self.clickhouse.staging(self.source.table) as staging:
            sent = self._fill(moment, span_of(days), staging)
            stored = self._stored(staging, days, sent)
            # What was refused is not there. Asking Postgres for everything costs more than all the rest, but is rare.
            whole = counted.result() == sent
            found = stored if whole else merged(moment.ask(source_days, span_of(days)))
            moment.check_shape(span_of(days))
            states = _states(days, {day.day: day.rows for day in stored}, found)
            self._swap(moment, staging, states)
        return states

    def _fill(self, moment: Reading, span: Span, staging: str) -> int:
        """Send the accepted rows of the span into the empty table, in one stream or more; returns how many."""
        try:
            return self._stream(moment, span, staging)
        except LockHeldTooLong as error:
            halves = moment.halves(span, error)
            logger.info("%s: %s; its halves are read one after the other", self.source.name, error)
            self.clickhouse.execute(f"TRUNCATE TABLE {quoted(staging)}{self.clickhouse.on_cluster} SYNC")
        return sum(self._add(moment, half, staging) for half in halves)

    def _add(self, moment: Reading, span: Span, staging: str) -> int:
        with self.clickhouse.staging(self.source.table) as part:
            sent = self._fill(moment, span, part)
            self.clickhouse.move_partitions(staging, part)
        return sent

    def _stream(self, moment: Reading, span: Span, staging: str) -> int:
        """Send them in one stream; returns how many Postgres sent."""
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

        statement = self.source.rows(self.postgres, what, moment.condition(span)).as_string()
        with arrow_stream(moment.postgres, statement, moment.exported) as parts:
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
            _STAGED_DAYS.format(change=quoted(self.source.change_column), staging=quoted(staging))
        )
        stored = [SourceDay(day_of[id_], count, newest, remainder(total)) for id_, count, newest, total in rows]
        if (count := sum(day.rows for day in stored)) != sent:
            raise IncompleteCopy(
                f"Of {sent} rows of {self.source.name} ClickHouse stored {count}; the days stay as they were."
                " Materialise them again"
            )
        return stored

    def _swap(self, moment: Reading, staging: str, states: Sequence[DayState]) -> None:
        """Swap and record under one lease, so that the ledger never tells of another copy than ClickHouse holds."""
        with (
            moment.postgres.lease(f"swap:{self.source.name}", patience=_SWAP_PATIENCE),
            self.postgres.connect() as ledger,
        ):
            copied = copied_days(ledger, self.source, [state.day for state in states])
            older = [s for s in states if s.day not in copied or copied[s.day][1].taken_at <= moment.at.taken_at]
            partitions = [day_partition(state.day) for state in older]
            self.clickhouse.replace_partitions(self.source.table, staging, partitions)
            for state in older:
                if state.refused or (state.day in copied and copied[state.day][0].refused):
                    # One day's at a time: they are whole rows.
                    refused = self._refused(moment, state.day) if state.refused else []
                    replace_dead_letters(self.postgres, self.source.name, state.day.isoformat(), refused, self.run_id)
            record(ledger, self.source, older, moment.at, self.run_id)

    def _refused(self, moment: Reading, day: date) -> list[DeadLetter]:
        found = [letter for part in moment.ask(_dead_letters, span_of([day])) for letter in part]
        return sorted(found, key=lambda letter: int(letter.record_key))[:DEAD_LETTERS_KEPT]


def _counted(moment: Reading, days: Sequence[date]) -> int:
    return sum(moment.ask(counted_rows, span_of(days)))


def _dead_letters(
    connection: Connection, postgres: Postgres, source: DaySource, condition: sql.Composable
) -> list[DeadLetter]:
    what = sql.SQL("source.id::text, ({})::text, to_jsonb(source)::text").format(source.refusal)
    refused = source.rows(postgres, what, condition, refused=True)
    limited = sql.SQL("{} ORDER BY source.id LIMIT {}").format(refused, sql.Literal(DEAD_LETTERS_KEPT))
    return [DeadLetter(*row) for row in connection.execute(limited)]


def _passes_soon(error: BaseException) -> bool:
    return is_transient(error) or gave_way(error)


def _states(days: Sequence[date], stored: Mapping[date, int], found: Sequence[SourceDay]) -> list[DayState]:
    """What a copy of each of the days holds, also of the empty ones."""
    of_source = {one.day: one for one in found}
    return [of_source.get(day, SourceDay(day)).copied(stored.get(day, 0)) for day in days]


def _pieces(days: Sequence[date], rows: int, lock_seconds: int) -> list[Sequence[date]]:
    """The days in order, in groups of neighbours that have about as many rows each."""
    longest = min(ROWS_PER_PIECE, ROWS_PER_SECOND * lock_seconds)
    wanted = max(min(PIECES, rows // _WORTH_A_PIECE), rows // longest, 1)
    length = -(-len(days) // wanted)
    return [days[start : start + length] for start in range(0, len(days), length)]


# The same as `source_days` counts at the source, rounded alike.
_STAGED_DAYS = """
    SELECT
        _partition_id,
        count(),
        max({change}),
        ifNull(sum(toInt128(round(toUnixTimestamp64Micro({change}) / 1e6 * 1000))), 0)
    FROM {staging}
    GROUP BY _partition_id
"""
