"""One moment of a source, read by many short transactions, of which none keeps a lock on its relation for long.

The session that holds the moment touches no relation. Each question and each stream sees the same moment in a
transaction of its own, waits a few seconds for its locks, and gives them back with its answer. So whoever alters the
relation gets through between them; whether that changed what the moment holds is looked at before anything is swapped.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from threading import Event
from typing import TypeAlias, TypeVar

import psycopg
from psycopg import sql

from analytics_pipeline.flows.daily_copy.errors import ReadingTooSlow, SourceReshaped
from analytics_pipeline.flows.daily_copy.ledger import Snapshot, between, estimated_rows, snapshot
from analytics_pipeline.flows.daily_copy.source import DaySource
from analytics_pipeline.flows.days import day_start, next_day
from analytics_pipeline.flows.guards import require_replicas
from analytics_pipeline.resources.arrow import LockHeldTooLong, exported_snapshot
from analytics_pipeline.resources.clickhouse.errors import retrying
from analytics_pipeline.resources.postgres import Connection, Postgres
from analytics_pipeline.resources.sql_files import sql_file

Answer = TypeVar("Answer")
# Moments (UTC) of which the second is no longer part.
Span: TypeAlias = tuple[datetime, datetime]
Question: TypeAlias = Callable[[Connection, Postgres, DaySource, sql.Composable], Answer]

# One stream is one statement, which has to end within CLICKHOUSE_TIMEOUT_SECONDS, and within COPY_LOCK_SECONDS even
# where it is several times as slow as usual; one that is slower still is cut.
ROWS_PER_PIECE, ROWS_PER_SECOND = 10_000_000, 50_000
# Many would read a table often that has no index on its days.
_PIECES, _WORTH_A_PIECE = 4, 250_000
# A statement that is still too slow at this length is not slow because of its rows.
_SHORTEST = timedelta(minutes=1)


@dataclass(frozen=True)
class Reading:
    """The rows of `source` at the moment `at`, which other transactions can see as `exported`."""

    postgres: Postgres
    source: DaySource
    at: Snapshot
    exported: str
    attempts: int
    stop: Event

    def ask(self, question: Question[Answer], span: Span) -> list[Answer]:
        """The answer about the rows of the span; or one for each part of it, where one would hold its lock too long.

        Raises:
            ReadingTooSlow: smaller parts would not help.
        """
        try:
            return [self._asked(question, span)]
        except psycopg.errors.QueryCanceled as error:
            parts = self.halves(span, error)
        return [answer for part in parts for answer in self.ask(question, part)]

    def halves(self, span: Span, error: Exception) -> tuple[Span, Span]:
        """The span's halves, each to be read with a lock of its own, after `error` ended the reading of the whole.

        Raises:
            ReadingTooSlow: they would not be faster.
        """
        start, end = span
        if end - start < _SHORTEST or (
            isinstance(error, LockHeldTooLong) and not (error.rows or self.source.is_distinct)
        ):
            day = self.source.day.rpartition(".")[2]
            raise ReadingTooSlow(
                f"Postgres cannot read {self.source.name} from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
                f" within the {self.postgres.lock_seconds} s that a lock may last; the days stay as they were."
                f" Make an index on {day}, or set COPY_LOCK_SECONDS higher, and materialise them again"
            ) from error
        # Rows that are told apart by their moment stay together.
        middle = (start + (end - start) / 2).replace(microsecond=0)
        return (start, middle), (middle, end)

    def check_shape(self, span: Span) -> None:
        """Make sure that the transactions of this moment have read what it holds; to be asked after they have ended.

        Raises:
            SourceReshaped: they may have missed rows, or read others.
        """
        self.ask(_reshaped, span)

    def _asked(self, question: Question[Answer], span: Span) -> Answer:
        def once() -> Answer:
            with self.postgres.as_of(self.exported) as connection:
                return question(connection, self.postgres, self.source, self.condition(span))

        return retrying(self.attempts, gave_way, self.stop)(once)

    def condition(self, span: Span) -> sql.Composed:
        """That a row belongs to the span."""
        return between(self.source, *span)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """An interrupt of the body ends all that is being read or waited for on its behalf."""
        try:
            yield
        except Exception:
            raise
        except BaseException:
            self.stop.set()
            raise


@contextmanager
def reading(postgres: Postgres, source: DaySource, attempts: int) -> Iterator[Reading]:
    """A moment of the source, which is this one.

    Raises:
        ReplicaBehind: it is too far behind, or has replicas that are.
    """
    require_replicas(postgres)
    stop = Event()
    watched = replace(postgres, stop=stop)
    with closing(postgres.open()) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        with connection:
            yield Reading(watched, source, snapshot(connection), exported_snapshot(connection), attempts, stop)


def span_of(days: Sequence[date]) -> Span:
    """The span of neighbouring days."""
    return day_start(days[0]), day_start(next_day(days[-1]))


def pieces_of(days: Sequence[date], rows: int, lock_seconds: int) -> list[Sequence[date]]:
    """The days in order, in groups of neighbours that have about as many rows each."""
    longest = min(ROWS_PER_PIECE, ROWS_PER_SECOND * lock_seconds)
    wanted = max(min(_PIECES, rows // _WORTH_A_PIECE), rows // longest, 1)
    length = -(-len(days) // wanted)
    return [days[start : start + length] for start in range(0, len(days), length)]


def gave_way(error: BaseException) -> bool:
    """Whether it is trouble with somebody's lock, to whom the relation was left."""
    return isinstance(error, psycopg.errors.LockNotAvailable | psycopg.errors.DeadlockDetected)


def _reshaped(connection: Connection, postgres: Postgres, source: DaySource, condition: sql.Composable) -> None:
    estimated_rows(connection, postgres, source, condition)  # takes the locks of whatever is read
    name = postgres.relations[source.relation].rpartition(".")[2]
    parameters = {"relation": postgres.relation(source.relation).as_string(connection), "name": name}
    changed = [name for (name,) in connection.execute(sql_file(__package__, "reshaped.sql"), parameters)]
    if changed:
        raise SourceReshaped(
            f"{', '.join(changed)} was rewritten, emptied or given other partitions while it was copied to ClickHouse;"
            " the days stay as they were. Materialise them again"
        )
