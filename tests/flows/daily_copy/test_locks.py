"""The product alters its relation while a copy reads it: it gets through, and the copy is right or swaps nothing."""

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from datetime import date, datetime, timedelta, timezone
from typing import Any

import psycopg
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from analytics_pipeline.flows.daily_copy.copy import DayCopy
from analytics_pipeline.flows.daily_copy.errors import ReadingTooSlow, SourceReshaped
from analytics_pipeline.flows.daily_copy.ledger import DayState, SourceDay
from analytics_pipeline.flows.daily_copy.reading import Reading, Span
from analytics_pipeline.flows.reporting.source import REPORTING_EVENTS
from analytics_pipeline.resources.arrow import LockHeldTooLong
from analytics_pipeline.resources.postgres import postgres
from tests.product import Product
from tests.thorough import rarely

DAY = date(2026, 3, 8)
LAST = DAY + timedelta(days=2)
ROWS = 30_000
LOCK_SECONDS = 1
# What a busy machine takes for the rest of a statement.
SLACK_SECONDS = 8
ADD_COLUMN = "ALTER TABLE reporting_events ADD COLUMN IF NOT EXISTS note text"
ADD_PARTITION = (
    "CREATE TABLE events_{number} PARTITION OF reporting_events FOR VALUES FROM ('{year}-01-01Z') TO ('{year}-02-01Z')"
)


@pytest.fixture
def partitioned(empty_product: Product, monkeypatch: pytest.MonkeyPatch) -> Product:
    """Three days of events in a relation with a partition for each, and locks of a second at most."""
    monkeypatch.setenv("COPY_LOCK_SECONDS", str(LOCK_SECONDS))
    empty_product.execute("ALTER TABLE reporting_events RENAME TO flat")
    empty_product.execute(
        "CREATE TABLE reporting_events (LIKE flat INCLUDING DEFAULTS) PARTITION BY RANGE (created_at)"
    )
    for number in range(3):
        first, last = DAY + timedelta(days=number), DAY + timedelta(days=number + 1)
        empty_product.execute(
            f"CREATE TABLE day_{number} PARTITION OF reporting_events FOR VALUES FROM ('{first}Z') TO ('{last}Z')"
        )
    empty_product.execute(
        "INSERT INTO reporting_events (id, name, account_id, value, created_at, updated_at)"
        " SELECT number, 'first_response', 1, number, moment, moment FROM generate_series(0, %s - 1) AS number,"
        " LATERAL (SELECT '2026-03-08Z'::timestamptz + number * interval '3 days' / %s AS moment) AS at",
        ROWS,
        ROWS,
    )
    return empty_product


def copied(product: Product) -> list[DayState]:
    source = postgres(product.settings.load())
    return DayCopy(REPORTING_EVENTS, source, product.clickhouse, "run").copy(DAY, LAST)


def stored(product: Product) -> tuple[Any, ...]:
    (found,) = product.clickhouse.query(
        "SELECT count(), uniqExact(id), sum(value), min(created_at), max(created_at) FROM reporting_events"
    )
    return found


def in_source(product: Product) -> tuple[Any, ...]:
    (found,) = product.execute(
        "SELECT count(*), count(DISTINCT id), sum(value), min(created_at), max(created_at) FROM reporting_events"
    )
    return found


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever takes the rows is slow: a stream of all of them would last several times as long as a lock may."""
    reported = DayCopy._reported

    def slowly(self: DayCopy, chunks: Iterator[bytes]) -> Generator[bytes, None, None]:
        for chunk in reported(self, chunks):
            yield chunk
            time.sleep(len(chunk) / 1_000_000)

    monkeypatch.setattr(DayCopy, "_reported", slowly)


class Alterations(threading.Thread):
    """The product's changes of its relation at random moments, and how long each had to wait for our locks."""

    def __init__(self, product: Product, seed: int) -> None:
        super().__init__()
        self._url = product.postgres.url
        self._chance = random.Random(seed)  # noqa: S311 - nothing is to be kept secret
        self._ended = threading.Event()
        self.waits: list[float] = []

    def run(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            for number in range(10_000):
                statement = self._chance.choice((ADD_COLUMN, ADD_PARTITION))
                begun = time.monotonic()
                connection.execute(statement.format(number=number, year=2030 + number).encode())
                self.waits.append(time.monotonic() - begun)
                if self._ended.wait(self._chance.uniform(0, 0.5)):
                    return

    def end(self) -> None:
        self._ended.set()
        self.join()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, *rarely(1, 2)])
def test_copy__relation_is_altered_at_random_moments__neither_waits_for_the_other_for_long(
    partitioned: Product, slow: None, seed: int
) -> None:
    alterations = Alterations(partitioned, seed)
    alterations.start()
    try:
        states = copied(partitioned)
    finally:
        alterations.end()

    assert [(state.day, state.rows, state.refused) for state in states] == [
        (DAY + timedelta(days=number), ROWS // 3, 0) for number in range(3)
    ]
    assert stored(partitioned) == in_source(partitioned)
    assert len(alterations.waits) > 3
    assert max(alterations.waits) < LOCK_SECONDS + SLACK_SECONDS
    assert not [table for table in partitioned.tables() if table.startswith("staging_")]


def test_copy__clickhouse_still_writes_what_came_of_a_stream_that_was_cut__is_right(
    partitioned: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server learns late that its client is gone."""
    stream, first = DayCopy._stream, list[str]()

    def late(self: DayCopy, moment: Reading, span: Span, staging: str) -> int:
        if not first:
            first.append(staging)
            raise LockHeldTooLong(LOCK_SECONDS, 1)
        with suppress(DatabaseError):
            self.clickhouse.execute(f"INSERT INTO {first[0]} (id, created_at) VALUES (7, '{DAY} 12:00:00')")
        return stream(self, moment, span, staging)

    monkeypatch.setattr(DayCopy, "_stream", late)

    states = copied(partitioned)

    assert sum(state.rows for state in states) == ROWS
    assert stored(partitioned) == in_source(partitioned)
    assert not [table for table in partitioned.tables() if table.startswith("staging_")]


@pytest.mark.slow
def test_copy__sessions_between_its_statements__hold_no_lock_on_the_relation(
    partitioned: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    locks: list[list[tuple[Any, ...]]] = []
    staged = DayCopy._stored

    def looked(self: DayCopy, *arguments: Any) -> list[SourceDay]:
        locks.append(partitioned.execute(_LOCKS))
        return staged(self, *arguments)

    monkeypatch.setattr(DayCopy, "_stored", looked)
    copied(partitioned)

    assert locks == [[]]


_LOCKS = """
    SELECT relation::regclass::text, mode FROM pg_locks
    WHERE locktype = 'relation' AND relation >= 16384 AND pid <> pg_backend_pid()
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("TRUNCATE day_1", id="emptied"),
        *rarely(pytest.param("ALTER TABLE reporting_events ALTER COLUMN account_id TYPE numeric", id="rewritten")),
        pytest.param("ALTER TABLE reporting_events DETACH PARTITION day_1", id="partition went"),
        *rarely(
            pytest.param(
                "ALTER TABLE reporting_events RENAME TO old; CREATE TABLE reporting_events (LIKE old)", id="replaced"
            ),
            pytest.param(
                "ALTER TABLE reporting_events DETACH PARTITION day_1;"
                " ALTER TABLE reporting_events ATTACH PARTITION other"
                " FOR VALUES FROM ('2026-03-09Z') TO ('2026-03-10Z')",
                id="partition came",
            ),
        ),
    ],
)
def test_copy__relation_is_another_before_the_swap__swaps_nothing_and_says_so(
    partitioned: Product, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    """Such a table looks empty, or complete, to those who see an earlier moment."""
    partitioned.execute("CREATE TABLE other (LIKE day_1 INCLUDING ALL)")
    copied(partitioned)
    before = stored(partitioned)
    partitioned.execute("UPDATE reporting_events SET value = -1")
    _once_staged(monkeypatch, lambda: partitioned.execute(statement))

    with pytest.raises(SourceReshaped, match=r"while it was copied to ClickHouse; the days stay as they were"):
        copied(partitioned)

    assert stored(partitioned) == before


@pytest.mark.parametrize("statement", [ADD_COLUMN, *rarely(ADD_PARTITION.format(number=1, year=2030))])
def test_copy__relation_gets_a_column_or_an_empty_partition__is_right(
    partitioned: Product, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    _once_staged(monkeypatch, lambda: partitioned.execute(statement))

    copied(partitioned)

    assert stored(partitioned) == in_source(partitioned)


def _once_staged(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    staged = DayCopy._stored

    def then(self: DayCopy, *arguments: Any) -> list[SourceDay]:
        days = staged(self, *arguments)
        happens()
        return days

    monkeypatch.setattr(DayCopy, "_stored", then)


def test_copy__postgres_needs_too_long_for_any_row__says_what_helps(
    partitioned: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    partitioned.execute("DROP TABLE reporting_events CASCADE")
    partitioned.execute("CREATE VIEW reporting_events AS SELECT flat.* FROM flat, pg_sleep(30)")
    partitioned.execute(
        "INSERT INTO flat (name, account_id, created_at) VALUES ('a', 1, %s)", datetime(2026, 3, 8, tzinfo=timezone.utc)
    )

    with pytest.raises(ReadingTooSlow, match="Make an index on created_at, or set COPY_LOCK_SECONDS higher"):
        copied(partitioned)


@pytest.mark.parametrize("ended_by", [signal.SIGINT, *rarely(signal.SIGTERM)])
def test_copy__process_gets_a_signal__ends_at_once(
    partitioned: Product, monkeypatch: pytest.MonkeyPatch, ended_by: signal.Signals
) -> None:
    monkeypatch.setenv("COPY_LOCK_SECONDS", "60")
    process = subprocess.Popen([sys.executable, "-c", _SLOW_COPY], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "streaming\n"
    begun = time.monotonic()

    process.send_signal(ended_by)
    code = process.wait(timeout=90)

    # It takes a second; where it would not be heard, COPY_LOCK_SECONDS would be what ended the copy.
    assert time.monotonic() - begun < 45
    assert code in (-ended_by, 1)
    deadline = time.monotonic() + 10
    while partitioned.execute(_LOCKS):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert stored(partitioned)[0] == 0


# A run's own signal handlers raise in the main thread, as the interpreter does for SIGINT.
_SLOW_COPY = """
import time
from datetime import date
from analytics_pipeline.config import Settings
from analytics_pipeline.flows.daily_copy.copy import DayCopy
from analytics_pipeline.flows.reporting.source import REPORTING_EVENTS
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.clickhouse.connection import connect
from analytics_pipeline.resources.arrow import LockHeldTooLong
from analytics_pipeline.resources.postgres import postgres
settings = Settings.load()

def slowly(self, chunks):
    for chunk in chunks:
        yield chunk
        print("streaming", flush=True)
        time.sleep(2)

DayCopy._reported = slowly
with connect(settings, Tag("tests", "copy")) as clickhouse:
    DayCopy(REPORTING_EVENTS, postgres(settings), clickhouse, "run").copy(date(2026, 3, 8), date(2026, 3, 10))
"""
