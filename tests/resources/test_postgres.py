"""Postgres on a real server: transactions, streams, leases that die with their holder, renamed relations, errors."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager

import psycopg
import pyarrow as pa
import pytest

from analytics_pipeline.config import NotConfigured, Settings
from analytics_pipeline.resources.postgres import (
    ArrowPart,
    LeaseHeld,
    LeaseLost,
    Postgres,
    exported_snapshot,
    postgres,
)


def test_connect__body_ends__is_committed(store: Postgres) -> None:
    with store.connect() as connection:
        connection.execute("CREATE TABLE t (a int)")
        connection.execute("INSERT INTO t VALUES (1)")

    assert store.query("SELECT a FROM t") == [(1,)]
    assert connection.closed


def test_connect__body_raises__is_rolled_back(store: Postgres) -> None:
    _store_rows(store, 1)

    def work() -> None:
        with store.connect() as connection:
            connection.execute("INSERT INTO t VALUES (2)")
            raise _Broken

    with pytest.raises(_Broken):
        work()
    assert store.query("SELECT a FROM t") == [(1,)]


class _Broken(Exception):
    """Work that fails."""


def _store_rows(store: Postgres, count: int) -> None:
    with store.connect() as connection:
        connection.execute("CREATE TABLE t AS SELECT a FROM generate_series(1, %s) AS a", [count])


def test_query__hostile_parameters__come_back_as_they_were(store: Postgres) -> None:
    hostile = ["'; DROP TABLE t; --", "%s", "{projects}", "\\", '"', "é"]

    assert store.query("SELECT %(a)s::text[], %(b)s::text", a=hostile, b="".join(hostile)) == [
        (hostile, "".join(hostile))
    ]


def test_connections__of_the_pipeline__carry_its_name(store: Postgres) -> None:
    assert store.query("SELECT current_setting('application_name')") == [("analytics_pipeline",)]


@contextmanager
def _arrow_stream(store: Postgres, statement: str) -> Iterator[Iterator[ArrowPart]]:
    """As of a snapshot that was exported before a fourth row was added."""
    with store.connect() as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        snapshot = exported_snapshot(reader)
        with store.connect() as writer:
            writer.execute("INSERT INTO t VALUES (4)")
        with store.arrow_stream(statement, snapshot) as rows:
            yield rows


def test_arrow_stream__rows_committed_after_the_snapshot__are_not_seen(store: Postgres) -> None:
    _store_rows(store, 3)

    with _arrow_stream(store, "SELECT a, NULLIF(a::text, '2') AS b FROM t ORDER BY a") as parts:
        found = list(parts)

    assert [part.rows for part in found] == [0, 3]
    assert _rows(found) == [{"a": 1, "b": "1"}, {"a": 2, "b": None}, {"a": 3, "b": "3"}]
    _wait_until_alone(store)


def test_arrow_stream__no_rows__have_a_schema_all_the_same(store: Postgres) -> None:
    _store_rows(store, 3)

    with _arrow_stream(store, "SELECT a FROM t WHERE false") as parts:
        (schema,) = parts

    assert schema.rows == 0
    assert pa.ipc.open_stream(schema.content).schema == pa.schema({"a": pa.int32()})


def test_arrow_stream__abandoned_on_the_way__does_not_wait_for_the_rest(store: Postgres) -> None:
    """A hundred million rows would take minutes, and one of them is being read when the work fails."""
    _store_rows(store, 3)

    def work() -> None:
        with _arrow_stream(store, "SELECT generate_series(1, 100000000) AS a") as parts:
            assert [next(parts).rows, next(parts).rows > 0] == [0, True]
            raise _Broken

    with pytest.raises(_Broken):
        work()
    _wait_until_alone(store)


def test_arrow_stream__server_ends_the_session__is_an_error_and_not_the_end_of_the_rows(store: Postgres) -> None:
    _store_rows(store, 3)

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


def test_arrow_stream__server_does_not_answer__says_so_without_credentials() -> None:
    gone = Postgres("postgresql://me:secret@127.0.0.1:1/app", {})

    with pytest.raises(ConnectionError) as refusal, gone.arrow_stream("SELECT 1", "00000003-0000001B-1"):
        pass

    assert str(refusal.value) == (
        "Postgres at postgresql://127.0.0.1:1/app: the server does not answer. Check DATABASE_URL, then run:"
        " analytics-pipeline doctor"
    )


def _rows(parts: list[ArrowPart]) -> list[dict[str, object]]:
    stream = b"".join(part.content for part in parts)
    return [dict(row) for row in pa.ipc.open_stream(stream).read_all().to_pylist()]


def _wait_until_alone(store: Postgres) -> None:
    deadline = time.monotonic() + 10
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    while store.query(others) != [(0,)]:
        assert time.monotonic() < deadline, "a connection was left behind"
        time.sleep(0.02)


def test_lease__held__nobody_else_gets_it_until_it_is_given_back(store: Postgres) -> None:
    def take() -> str:
        with store.lease("identities:2026-01-01"):
            return "taken"

    with store.lease("identities:2026-01-01"):
        with pytest.raises(LeaseHeld) as refusal:
            take()
        with store.lease("identities:2026-01-02"):
            pass
    assert str(refusal.value) == (
        "another run is working on identities:2026-01-01 and was left to it; try again when it has ended"
    )
    assert take() == "taken"


def test_lease__work_raises__is_given_back(store: Postgres) -> None:
    def work() -> None:
        with store.lease("work"):
            raise _Broken

    for _ in range(2):
        with pytest.raises(_Broken):
            work()


def test_lease__connection_breaks_on_the_way__the_work_does_not_count_as_safe(store: Postgres) -> None:
    def work() -> None:
        with store.lease("work"):
            store.query(
                "SELECT pg_terminate_backend(pid) FROM pg_locks"
                " WHERE locktype = 'advisory'"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )

    with pytest.raises(LeaseLost, match="the lease on work was lost on the way; run this again to be sure"):
        work()
    with store.lease("work"):
        pass


HOLDER = """
import time
from analytics_pipeline.config import Settings
from analytics_pipeline.resources.postgres import postgres
with postgres(Settings.load()).lease("work"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_lease__holder_is_killed__is_free_again(store: Postgres) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(LeaseHeld), store.lease("work"):
        pass

    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    _wait_until_alone(store)

    with store.lease("work"):
        pass


@pytest.mark.parametrize("relation", ["renamed", "other.renamed", "Mixed", "other.Mixed", "select"])
def test_statement__relation_is_renamed__reads_the_configured_one(
    store: Postgres, monkeypatch: pytest.MonkeyPatch, relation: str
) -> None:
    monkeypatch.setenv("SOURCE_PROJECTS", relation)
    name = ".".join(f'"{part}"' for part in relation.split("."))
    with store.connect() as connection:
        connection.execute("CREATE SCHEMA other")
        connection.execute(f"CREATE TABLE {name} AS SELECT 7 AS id".encode())

    assert postgres(Settings.load()).query("SELECT id FROM {projects} AS p WHERE p.id = %(id)s", id=7) == [(7,)]


def test_statement__hostile_relation_name__stays_one_identifier(store: Postgres) -> None:
    hostile = Postgres(store.url, {"projects": 'a" ; DROP TABLE t; --'})
    _store_rows(store, 1)

    with pytest.raises(psycopg.errors.UndefinedTable):
        hostile.query("SELECT 1 FROM {projects}")
    assert store.query("SELECT a FROM t") == [(1,)]


@pytest.mark.parametrize(
    ("url", "place", "reason"),
    [
        ("postgresql://u:S3CRET@127.0.0.1:1/product", "postgresql://127.0.0.1:1/product", "the server does not answer"),
        (
            "postgresql://u:S3CRET@/product?host=/no/such/directory",
            "postgresql:///product",
            "the server does not answer",
        ),
        ("postgresql://u:%zzS3CRET@127.0.0.1/product", "postgresql://127.0.0.1/product", "the URL cannot be read"),
        ("postgresql://u:S3CRET@h/product?a=S3CRET", "postgresql://h/product", "the URL cannot be read"),
    ],
)
def test_connect__url_is_wrong__says_so_without_credentials(
    monkeypatch: pytest.MonkeyPatch, url: str, place: str, reason: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)

    assert _refusal() == f"Postgres at {place}: {reason}. Check DATABASE_URL, then run: analytics-pipeline doctor"


@pytest.mark.parametrize(
    ("change", "place"), [((r"/product\?", "/missing?"), "missing"), ((r"//postgres@", "//ghost:S3CRET@"), "product")]
)
def test_connect__database_or_user_is_unknown__says_so_without_credentials(
    environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, change: tuple[str, str], place: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", re.sub(*change, environment["DATABASE_URL"]))

    assert _refusal() == (
        f"Postgres at postgresql:///{place}: the database or user does not exist."
        " Check DATABASE_URL, then run: analytics-pipeline doctor"
    )


def _refusal() -> str:
    with pytest.raises(ConnectionError) as refusal:
        postgres(Settings.load()).query("SELECT 1")
    assert refusal.value.__suppress_context__
    return str(refusal.value)


def test_postgres__not_configured__says_which_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)

    with pytest.raises(NotConfigured, match="DATABASE_URL is not set"):
        postgres(Settings.load())


def test_postgres__url_of_sqlalchemys_kind__is_understood(store: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", store.url.replace("postgresql://", "postgresql+psycopg2://", 1))

    with closing(postgres(Settings.load()).open()) as connection:
        assert connection.execute("SELECT 1").fetchall() == [(1,)]


def test_is_leased__while_somebody_holds_it__and_only_then(store: Postgres) -> None:
    names = [f"work-{number}" for number in range(20)]  # hashes of both signs
    for name in names:
        with store.lease(name):
            assert (store.is_leased(name), store.is_leased("other")) == (True, False)

    assert not any(store.is_leased(name) for name in names)
