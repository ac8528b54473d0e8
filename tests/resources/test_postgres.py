"""Postgres on a real server: transactions, streams, leases that die with their holder, renamed relations, errors."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from unittest import mock

import psycopg
import pytest

from analytics_pipeline.config import NotConfigured, Settings
from analytics_pipeline.resources.postgres import LeaseHeld, LeaseLost, Postgres, postgres
from analytics_pipeline.resources.sessions import Session
from tests.resources.harness import store_rows, wait_until_alone


def test_connect__body_ends__is_committed(store: Postgres) -> None:
    with store.connect() as connection:
        connection.execute("CREATE TABLE t (a int)")
        connection.execute("INSERT INTO t VALUES (1)")

    assert store.query("SELECT a FROM t") == [(1,)]
    assert connection.closed


def test_connect__body_raises__is_rolled_back(store: Postgres) -> None:
    store_rows(store, 1)

    def work() -> None:
        with store.connect() as connection:
            connection.execute("INSERT INTO t VALUES (2)")
            raise _Broken

    with pytest.raises(_Broken):
        work()
    assert store.query("SELECT a FROM t") == [(1,)]


class _Broken(Exception):
    """Work that fails."""


def test_query__hostile_parameters__come_back_as_they_were(store: Postgres) -> None:
    hostile = ["'; DROP TABLE t; --", "%s", "{projects}", "\\", '"', "é"]

    assert store.query("SELECT %(a)s::text[], %(b)s::text", a=hostile, b="".join(hostile)) == [
        (hostile, "".join(hostile))
    ]


def test_connections__of_the_pipeline__carry_its_name(store: Postgres) -> None:
    assert store.query("SELECT current_setting('application_name')") == [("analytics_pipeline",)]


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

    # Until the server has noticed that a session is closed, it would keep its locks.
    with mock.patch.object(Session, "close"):
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
    wait_until_alone(store)

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
    store_rows(store, 1)

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
