"""Arrow streams from a real Postgres: as of one snapshot, whole or an error, and gone when nobody wants them."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import psycopg
import pyarrow as pa
import pytest

from analytics_pipeline.flows.failures import passes, reason_of
from analytics_pipeline.resources import arrow, arrow_reader
from analytics_pipeline.resources.arrow import ArrowPart, LockHeldTooLong, arrow_stream, exported_snapshot
from analytics_pipeline.resources.arrow_reader import BEGUN
from analytics_pipeline.resources.postgres import Postgres
from analytics_pipeline.resources.sessions import MomentLost, Stopped
from tests.resources.harness import store_rows, wait_until_alone
from tests.resources.proxy import proxy

pytestmark = pytest.mark.usefixtures("started_readers")


class _Broken(Exception):
    """Work that fails."""


@contextmanager
def _arrow_stream(store: Postgres, statement: str) -> Iterator[Iterator[ArrowPart]]:
    """As of a snapshot that was exported before a fourth row was added."""
    with store.connect() as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        snapshot = exported_snapshot(reader)
        with store.connect() as writer:
            writer.execute("INSERT INTO t VALUES (4)")
        with arrow_stream(store, statement, snapshot) as rows:
            yield rows


def test_arrow_stream__rows_committed_after_the_snapshot__are_not_seen(store: Postgres) -> None:
    store_rows(store, 3)

    with _arrow_stream(store, "SELECT a, NULLIF(a::text, '2') AS b FROM t ORDER BY a") as parts:
        found = list(parts)

    assert [part.rows for part in found] == [0, 3]
    assert _rows(found) == [{"a": 1, "b": "1"}, {"a": 2, "b": None}, {"a": 3, "b": "3"}]
    wait_until_alone(store)


def test_arrow_stream__no_rows__have_a_schema_all_the_same(store: Postgres) -> None:
    store_rows(store, 3)

    with _arrow_stream(store, "SELECT a FROM t WHERE false") as parts:
        (schema,) = parts

    assert schema.rows == 0
    assert pa.ipc.open_stream(schema.content).schema == pa.schema({"a": pa.int32()})


def test_arrow_stream__abandoned_on_the_way__does_not_wait_for_the_rest(store: Postgres) -> None:
    """A hundred million rows would take minutes, and one of them is being read when the work fails."""
    store_rows(store, 3)

    def work() -> None:
        with _arrow_stream(store, "SELECT generate_series(1, 100000000) AS a") as parts:
            assert [next(parts).rows, next(parts).rows > 0] == [0, True]
            raise _Broken

    with pytest.raises(_Broken):
        work()
    wait_until_alone(store)


def test_arrow_stream__server_ends_the_session__is_an_error_and_not_the_end_of_the_rows(store: Postgres) -> None:
    store_rows(store, 3)

    def work() -> None:
        with _arrow_stream(store, "SELECT generate_series(1, 100000000) AS a") as parts:
            assert [next(parts).rows, next(parts).rows > 0] == [0, True]
            store.query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND query LIKE 'COPY%%'"
            )
            for _ in parts:
                pass

    with pytest.raises(ConnectionError, match=r"Postgres stopped in the middle of a result: .*libpq"):
        work()


@pytest.mark.parametrize("good", [2, 200_000])
def test_arrow_stream__value_that_postgres_cannot_cast__is_about_the_data_and_shows_no_value(
    store: Postgres, good: int
) -> None:
    """As in a view of the product; the driver says of an error in the middle of the rows only its text."""
    store_rows(store, 3)
    statement = (
        f"SELECT (CASE WHEN a <= {good} THEN a::text ELSE 'jane@example.com' END)::bigint AS a"
        f" FROM generate_series(1, {good} + 1) AS a"
    )

    with pytest.raises(psycopg.DataError) as refusal, _arrow_stream(store, statement) as parts:
        list(parts)

    assert reason_of(refusal.value) == 'Postgres: invalid input syntax for type bigint: "…"'
    assert not passes(refusal.value)


@pytest.mark.parametrize("word", [b"BEGIN ISOLATION", b"SET TRANSACTION SNAPSHOT", b"COPY (SELECT 42"])
def test_arrow_stream__line_is_cut_between_two_statements__is_an_error_that_may_pass(
    store: Postgres, word: bytes
) -> None:
    """The driver aborts its process at this."""
    with store.connect() as reader, proxy(store.url) as between:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        snapshot = exported_snapshot(reader)
        between.cut_at = word
        with (
            pytest.raises(ConnectionError, match="the server ended the session between two statements"),
            arrow_stream(Postgres(between.url, {}), "SELECT 42 AS a", snapshot) as parts,
        ):
            list(parts)
    wait_until_alone(store)


def test_arrow_stream__server_falls_silent_before_the_statement__is_given_up(
    store: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrow, "CONNECT_TIMEOUT_SECONDS", 1)
    monkeypatch.setattr(arrow, "GRACE_SECONDS", 1)
    with proxy(store.url) as between:
        between.silent_at = b"SET TRANSACTION SNAPSHOT"
        with (
            pytest.raises(ConnectionError, match="the server took the connection and does not answer"),
            arrow_stream(Postgres(between.url, {}), "SELECT 42 AS a", "00000003-0000001B-1"),
        ):
            pass


@pytest.mark.parametrize(
    ("statement", "some"), [("SELECT generate_series(1, 1000000000) AS a", True), ("SELECT pg_sleep(60)::text", False)]
)
def test_arrow_stream__lasts_longer_than_a_lock_may__is_ended_with_its_lock(
    store: Postgres, statement: str, some: bool
) -> None:
    store_rows(store, 3)
    begun = time.monotonic()

    with (
        pytest.raises(LockHeldTooLong, match=r"within the 1 s \(COPY_LOCK_SECONDS\)") as ended,
        _arrow_stream(replace(store, lock_seconds=1), statement) as parts,
    ):
        for _ in parts:
            pass

    assert (ended.value.rows > 0) is some
    assert time.monotonic() - begun < 30
    wait_until_alone(store)


def test_arrow_stream__nobody_takes_the_rows__is_ended_with_its_lock(store: Postgres) -> None:
    """The server cannot end it: it waits for whoever is to take them, and looks at no limit while it does."""
    store_rows(store, 3)
    statement = "SELECT generate_series(1, 1000000000) AS a"

    def work() -> None:
        with _arrow_stream(replace(store, lock_seconds=1), statement) as parts:
            next(parts)
            deadline = time.monotonic() + 20
            while store.query(_STREAMS) != [(0,)]:
                assert time.monotonic() < deadline, "the stream is still there"
                time.sleep(0.1)
            list(parts)

    with pytest.raises(LockHeldTooLong):
        work()


def test_arrow_stream__work_is_stopped__ends_at_once(store: Postgres) -> None:
    store_rows(store, 3)
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()

    with pytest.raises(Stopped), _arrow_stream(replace(store, stop=stop), "SELECT pg_sleep(60)::text") as parts:
        list(parts)

    wait_until_alone(store)


def test_arrow_stream__relation_is_locked__gives_up_within_seconds(store: Postgres) -> None:
    store_rows(store, 3)
    with store.connect() as other:
        other.execute("CREATE TABLE u (a int)")
    with store.connect() as other:
        other.execute("LOCK TABLE u")
        with (
            pytest.raises(psycopg.errors.LockNotAvailable, match=r"^canceling statement due to lock timeout$"),
            _arrow_stream(store, "SELECT a FROM u") as parts,
        ):
            list(parts)


def test_arrow_stream__exporting_session_has_ended__says_so(store: Postgres) -> None:
    with store.connect() as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        snapshot = exported_snapshot(reader)

    with pytest.raises(MomentLost), arrow_stream(store, "SELECT 1", snapshot):
        pass


def test_arrow_stream__whoever_reads_it_is_killed__ends_as_well(store: Postgres) -> None:
    reader = subprocess.Popen([sys.executable, "-c", _READER], stdout=subprocess.PIPE, text=True)
    assert reader.stdout is not None
    assert reader.stdout.readline() == "reading\n"

    reader.kill()
    reader.wait()

    wait_until_alone(store)


@pytest.mark.parametrize("statement", ["SELECT 42 AS a", "SELECT nothing"])
def test_reader__has_answered__ends_without_an_abort(store: Postgres, statement: str) -> None:
    """One that aborts leaves a core file of each stream."""
    request = {"url": store.url, "prepare": [], "statement": statement, "batch_bytes": 1 << 18}
    reader = subprocess.Popen(
        [sys.executable, "-m", arrow_reader.__name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert reader.stdin is not None
    assert reader.stdout is not None
    reader.stdin.write(json.dumps(request | {"open_seconds": 30, "read_seconds": 30}).encode() + b"\n")
    reader.stdin.flush()

    assert reader.stdout.read(1) == BEGUN
    reader.stdout.read()
    assert reader.wait(30) == 0


_STREAMS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'COPY%%'"
_READER = """
import psycopg
from analytics_pipeline.config import Settings
from analytics_pipeline.resources.arrow import arrow_stream, exported_snapshot
from analytics_pipeline.resources.postgres import postgres
store = postgres(Settings.load())
with store.connect() as connection:
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    with arrow_stream(store, "SELECT pg_sleep(60)::text", exported_snapshot(connection)) as parts:
        print("reading", flush=True)
        list(parts)
"""


def test_arrow_stream__server_does_not_answer__says_so_without_credentials() -> None:
    gone = Postgres("postgresql://me:secret@127.0.0.1:1/app", {})

    with pytest.raises(ConnectionError) as refusal, arrow_stream(gone, "SELECT 1", "00000003-0000001B-1"):
        pass

    assert str(refusal.value) == (
        "Postgres at postgresql://127.0.0.1:1/app: the server does not answer. Check DATABASE_URL, then run:"
        " analytics-pipeline doctor"
    )


def _rows(parts: list[ArrowPart]) -> list[dict[str, object]]:
    stream = b"".join(part.content for part in parts)
    return [dict(row) for row in pa.ipc.open_stream(stream).read_all().to_pylist()]
