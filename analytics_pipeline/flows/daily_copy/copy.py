"""Days of a source relation into ClickHouse: one stream into a staging table, then each day swapped at once.

Postgres writes its binary format, ADBC turns it into Arrow, and ClickHouse reads that: exact for every value, and no
row is touched by Python, so that memory stays at a few megabytes for any number of rows.
"""

import logging
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta

from psycopg import sql

from analytics_pipeline.flows.daily_copy.errors import IncompleteCopy
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
from analytics_pipeline.flows.daily_copy.left_out import without_forgotten
from analytics_pipeline.flows.daily_copy.reading import Reading, Span, gave_way, pieces_of, reading, span_of
from analytics_pipeline.flows.daily_copy.refusals import DEAD_LETTERS_KEPT, dead_letters
from analytics_pipeline.flows.daily_copy.source import DaySource
from analytics_pipeline.flows.daily_copy.typed import as_found
from analytics_pipeline.flows.dead_letters import replace_dead_letters, units_with_dead_letters
from analytics_pipeline.flows.guards import require_room
from analytics_pipeline.flows.held_days import swap_days
from analytics_pipeline.resources.arrow import LockHeldTooLong, arrow_stream
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.errors import is_transient, retrying
from analytics_pipeline.resources.clickhouse.names import day_partition, quoted
from analytics_pipeline.resources.postgres import Postgres

logger = logging.getLogger(__name__)

_REPORT_SECONDS = 10.0
# Swaps of a year take seconds; a run that waits longer than this for another one's has found a broken one.
_SWAP_PATIENCE = timedelta(minutes=10)
# Two at a time keep Postgres and ClickHouse busy, of which each works for a stream with one processor; and while one is
# swapped, another streams.
PIECES_AT_ONCE = 2
# Of a million, as is usual, ClickHouse would write nothing until they are there: it and the stream would take turns.
_BLOCK_ROWS = 1 << 18

Progress = Callable[[int], None]


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
            DiskFull, TooManyParts, ReplicaBehind, IncompleteCopy: the days of the piece stay as they were.
            WrongTypes: columns of the source cannot be read; nothing was copied.
        """
        return replace(self, source=as_found(self.postgres, self.source))._copy(first, last)

    def _copy(self, first: date, last: date) -> list[DayState]:
        days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        with (
            reading(self.postgres, self.source, self.clickhouse.attempts) as moment,
            ThreadPoolExecutor(1, "count") as counter,
            ThreadPoolExecutor(PIECES_AT_ONCE, "copy") as workers,
            moment.interruptible(),
        ):
            pieces = pieces_of(days, sum(moment.ask(estimated_rows, span_of(days))), self.postgres.lock_seconds)
            # Counted beside the first streams; a piece waits for its own before it is swapped.
            counted = [counter.submit(moment.ask, counted_rows, span_of(piece)) for piece in pieces]
            try:
                copied = workers.map(lambda piece, rows: self._copy_piece(moment, piece, rows), pieces, counted)
                return [state for states in copied for state in states]
            finally:
                counter.shutdown(wait=False, cancel_futures=True)

    def _copy_piece(self, moment: Reading, days: Sequence[date], counted: Future[list[int]]) -> list[DayState]:
        require_room(self.clickhouse, self.source.table)
        attempt = retrying(self.clickhouse.attempts, _passes_soon, moment.stop)
        try:
            return attempt(self._try_piece, moment, days, counted)
        except IncompleteCopy:
            if not self.source.key or self.source.is_distinct:
                raise
            # The table took two rows for one. They are told apart by sorting, which is not for every copy.
            source = replace(self.source, is_distinct=True)
            distinct = replace(self, source=source)
            return attempt(distinct._try_piece, replace(moment, source=source), days, counted)

    def _try_piece(self, moment: Reading, days: Sequence[date], counted: Future[list[int]]) -> list[DayState]:
        with self._staged(moment, span_of(days)) as (staging, sent):
            stored = self._stored(staging, days, sent)
            # Refused rows are not in staging. Asking Postgres for everything costs more than all the rest, but is rare.
            whole = sum(counted.result()) == sent
            found = stored if whole else merged(moment.ask(source_days, span_of(days)))
            moment.check_shape(span_of(days))
            states = _states(days, {day.day: day.rows for day in stored}, found)
            return self._swap(moment, staging, states)

    @contextmanager
    def _staged(self, moment: Reading, span: Span) -> Iterator[tuple[str, int]]:
        """A table with the accepted rows of the span, sent in one stream or more, and how many Postgres sent."""
        with self.clickhouse.staging(self.source.table) as staging:
            try:
                sent = self._stream(moment, span, staging)
            except LockHeldTooLong as error:
                halves = moment.halves(span, error)
                logger.info("%s: %s; its halves are read one after the other", self.source.name, error)
            else:
                yield staging, sent
                return
        # Another table: ClickHouse may still be writing what came of the stream that was cut.
        with self.clickhouse.staging(self.source.table) as staging:
            sent = 0
            for half in halves:
                with self._staged(moment, half) as (part, rows):
                    self.clickhouse.move_partitions(staging, part)
                    sent += rows
            yield staging, sent

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
            _STAGED_DAYS.format(
                change=quoted(self.source.change_column),
                staging=quoted(staging),
                final="FINAL" if self.source.key else "",
            )
        )
        stored = [SourceDay(day_of[id_], count, newest, remainder(total)) for id_, count, newest, total in rows]
        if (count := sum(day.rows for day in stored)) != sent:
            raise IncompleteCopy(
                f"Of {sent} rows of {self.source.name} ClickHouse stored {count}; the days stay as they were."
                " Materialise them again"
            )
        return stored

    def _swap(self, moment: Reading, staging: str, states: Sequence[DayState]) -> list[DayState]:
        """Swap and record under one lease, so that the ledger never tells of another copy than ClickHouse holds."""
        held = self.source.held
        with moment.postgres.lease(held.lease, patience=_SWAP_PATIENCE), self.postgres.ledgers.connect() as ledger:
            copied = copied_days(ledger, self.source, [state.day for state in states])
            older = [s for s in states if s.day not in copied or copied[s.day][1].taken_at <= moment.at.taken_at]
            older = without_forgotten(self.postgres, self.clickhouse, self.source, staging, older)
            days = [state.day for state in older]
            left_out = sorted({state.day for state in states}.difference(days))
            swap_days(self.clickhouse, ledger, held, staging, days, left_out)
            for day in self._days_with_dead_letters(staging, older):
                # One day's at a time: they are whole rows.
                letters = [one for part in moment.ask(dead_letters, span_of([day])) for one in part][:DEAD_LETTERS_KEPT]
                replace_dead_letters(self.postgres, self.source.name, day.isoformat(), letters, self.run_id)
            record(ledger, self.source, older, moment.at, self.run_id)
        return [*{state.day: state for state in (*states, *older)}.values()]

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


def _passes_soon(error: BaseException) -> bool:
    return is_transient(error) or gave_way(error)


def _states(days: Sequence[date], stored: Mapping[date, int], found: Sequence[SourceDay]) -> list[DayState]:
    """Contents of a copy of each of the days, also of the empty ones."""
    of_source = {one.day: one for one in found}
    return [of_source.get(day, SourceDay(day)).copied(stored.get(day, 0)) for day in days]


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
