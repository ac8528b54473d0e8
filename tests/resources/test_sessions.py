"""Sessions of ours: they set what they depend on, no wait of theirs is without an end, and errors name the peer."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest

from analytics_pipeline.config import AccessRefused
from analytics_pipeline.resources import postgres as postgres_module
from analytics_pipeline.resources import sessions
from analytics_pipeline.resources.postgres import Postgres
from analytics_pipeline.resources.sessions import MomentLost, ServerSilent, Stopped
from tests.resources.harness import store_rows, wait_until_alone
from tests.resources.proxy import Proxy, peer, proxy


@pytest.fixture
def between(postgres_url: str) -> Iterator[Proxy]:
    with proxy(postgres_url) as server:
        yield server


def _seconds_of(begun: float) -> float:
    return time.monotonic() - begun


def test_session__role_with_limits_and_formats__depends_on_none_of_them(store: Postgres) -> None:
    with store.connect() as connection:
        ((name,),) = connection.execute("SELECT current_database()").fetchall()
        for setting in (
            "statement_timeout = '500ms'",
            "lock_timeout = '1ms'",
            "idle_in_transaction_session_timeout = '100ms'",
            "idle_session_timeout = '100ms'",
            "client_encoding = 'LATIN1'",
            "default_transaction_isolation = 'serializable'",
            "timezone = 'Asia/Tokyo'",
            "datestyle = 'German'",
            "intervalstyle = 'sql_standard'",
            "standard_conforming_strings = off",
            "default_transaction_read_only = on",
        ):
            connection.execute(f"ALTER DATABASE {name} SET {setting}".encode())
    asked = r"SELECT '😀 größe\u00', '2026-03-08 12:00Z'::timestamptz::text, '1 day 2 hours'::interval::text"

    with store.connect() as connection:
        time.sleep(0.3)
        answer = connection.execute(asked).fetchall()
        time.sleep(0.3)
        slow = connection.execute("SELECT 1 FROM pg_sleep(0.7)").fetchall()
        isolation = connection.execute("SHOW transaction_isolation").fetchall()
        connection.execute("CREATE TABLE ledger (a int)")

    assert answer == [(r"😀 größe\u00", "2026-03-08 12:00:00+00", "1 day 02:00:00")]
    assert (slow, isolation) == ([(1,)], [("read committed",)])


def test_statement__takes_longer_than_a_lock_may_last__is_ended_by_the_server(store: Postgres) -> None:
    begun = time.monotonic()

    with pytest.raises(psycopg.errors.QueryCanceled):
        replace(store, lock_seconds=1).query("SELECT pg_sleep(30)")

    assert 1 <= _seconds_of(begun) < 10


def test_statement__relation_is_locked__gives_up_within_seconds(store: Postgres) -> None:
    store_rows(store, 1)
    with store.connect() as other:
        other.execute("LOCK TABLE t")
        begun = time.monotonic()
        with pytest.raises(psycopg.errors.LockNotAvailable):
            store.query("SELECT a FROM t")

    assert sessions.LOCK_TIMEOUT_SECONDS <= _seconds_of(begun) < sessions.LOCK_TIMEOUT_SECONDS + 10


def test_statement__server_falls_silent__is_given_up_and_the_peer_named(
    between: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_module, "GRACE_SECONDS", 0.5)
    between.silent_at = b"SELECT 42"
    begun = time.monotonic()

    with pytest.raises(ServerSilent) as silence:
        Postgres(between.url, {}, lock_seconds=1).query("SELECT 42")

    port = between.url.partition("@127.0.0.1:")[2].partition("/")[0]
    name = between.url.partition("?")[0].rpartition("/")[2]
    assert str(silence.value) == (
        f"Postgres at postgresql://127.0.0.1:{port}/{name}: the server has not answered for 2 s."
        " Nothing more was changed; run this again when it answers"
    )
    assert _seconds_of(begun) < 10


def test_statement__work_is_stopped__ends_at_once_here_and_in_the_server(store: Postgres) -> None:
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    begun = time.monotonic()

    with pytest.raises(Stopped):
        replace(store, stop=stop).query("SELECT pg_sleep(30)")

    assert _seconds_of(begun) < 5
    wait_until_alone(store)


def test_lease__patience_is_longer_than_a_statement_may_take__is_waited_for(store: Postgres) -> None:
    """The limit of a statement is for what locks the product's relations, which a lease does not."""
    holder = store.lease("work")
    holder.__enter__()
    threading.Timer(2, holder.__exit__, (None, None, None)).start()

    with replace(store, lock_seconds=1).lease("work", patience=timedelta(seconds=20)):
        pass


def test_as_of__exporting_session_has_ended__says_so(store: Postgres) -> None:
    with closing(store.open(autocommit=True)) as connection:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        ((snapshot,),) = connection.execute("SELECT pg_export_snapshot()").fetchall()

    with pytest.raises(MomentLost, match="Postgres ended the session that held the moment"), store.as_of(snapshot):
        pass


@pytest.mark.parametrize(
    ("answer", "reason", "kind"),
    [
        (None, "the server does not answer in time", ConnectionError),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "what answers there is not Postgres", AccessRefused),
        (b"", "the server closed the connection at once", ConnectionError),
    ],
)
def test_open__peer_is_no_postgres__says_what_is_there(
    monkeypatch: pytest.MonkeyPatch, answer: bytes | None, reason: str, kind: type[Exception]
) -> None:
    monkeypatch.setitem(sessions.CONNECTION_OPTIONS, "connect_timeout", 2)
    begun = time.monotonic()

    with peer(answer) as port, pytest.raises(ConnectionError) as refusal:
        Postgres(f"postgresql://u:S3CRET@127.0.0.1:{port}/app", {}).query("SELECT 1")

    assert _seconds_of(begun) < 10
    assert type(refusal.value) is kind
    assert str(refusal.value) == (
        f"Postgres at postgresql://127.0.0.1:{port}/app: {reason}."
        " Check DATABASE_URL, then run: analytics-pipeline doctor"
    )


def test_open__no_connection_is_left_for_the_user__says_so_and_passes(store: Postgres) -> None:
    store.query("SELECT 1")
    with store.connect() as connection:
        ((name,),) = connection.execute("SELECT 'crowded_' || pg_backend_pid()").fetchall()
        connection.execute(f"CREATE ROLE {name} LOGIN CONNECTION LIMIT 0".encode())
    try:
        with pytest.raises(ConnectionError, match="it has no connection left for us") as refusal:
            replace(store, url=store.url.replace("postgres@", f"{name}@", 1)).query("SELECT 1")
    finally:
        with store.connect() as connection:
            connection.execute(f"DROP ROLE {name}".encode())
    assert type(refusal.value) is ConnectionError
