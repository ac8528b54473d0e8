"""Kept connections: fewer are opened, and nothing else is different."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from multiprocessing import get_context
from threading import Event
from typing import Any

import psycopg
import pytest

from analytics_pipeline.resources.kept_sessions import kept_sessions
from analytics_pipeline.resources.postgres import Postgres
from analytics_pipeline.resources.sessions import Session
from tests.resources.harness import wait_until_alone

_PID = "SELECT pg_backend_pid()"
_SETTINGS = "SELECT current_setting('application_name'), current_setting('timezone'), current_setting('lock_timeout')"


def test_query__pooled__uses_one_connection_with_our_settings(store: Postgres) -> None:
    with store.pooled() as kept:
        pids = {kept.query(_PID)[0] for _ in range(3)}
        settings = kept.query(_SETTINGS)

    assert len(pids) == 1
    assert settings == store.query(_SETTINGS) == [("analytics_pipeline", "UTC", "5s")]
    assert store.query(_PID)[0] not in pids


def test_query__pooled__sends_nothing_but_the_statement(store: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    execute = Session.execute

    def recorded(self: Session, query: Any, *args: Any, **options: Any) -> Any:
        sent.append(query if isinstance(query, str) else query.as_string(self))
        return execute(self, query, *args, **options)

    with store.pooled() as kept:
        kept.query("SELECT 1")
        monkeypatch.setattr(Session, "execute", recorded)
        kept.query("SELECT 1")

    assert sent == ["SELECT 1"]


def test_query__server_has_closed_the_kept_connection__another_is_used(store: Postgres) -> None:
    with store.pooled() as kept:
        ((before,),) = kept.query(_PID)
        store.query("SELECT pg_terminate_backend(%(pid)s, 5000)", pid=before)
        ((after,),) = kept.query(_PID)

    assert before != after


def test_query__statement_fails__the_connection_serves_the_next(store: Postgres) -> None:
    with store.pooled() as kept:
        before = kept.query(_PID)
        with pytest.raises(psycopg.errors.DivisionByZero):
            kept.query("SELECT 1 / 0")

        assert kept.query(_PID) == before


def test_query__all_kept_connections_are_in_use_or_closed__opens_one(
    store: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analytics_pipeline.resources.kept_sessions.CONNECT_TIMEOUT_SECONDS", 0.1)
    with store.pooled(connections=1) as kept:
        ((own,),) = kept.query(_PID)
        with kept.pools[store.url].connection():
            assert kept.query(_PID) != [(own,)]

    assert kept.query("SELECT 1") == [(1,)]


def test_query__pooled_and_the_server_is_gone__says_why(store: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analytics_pipeline.resources.kept_sessions.CONNECT_TIMEOUT_SECONDS", 0.1)
    nowhere = replace(store, url="postgresql://user:secret@127.0.0.1:1/nowhere")

    with nowhere.pooled() as kept, pytest.raises(ConnectionError, match="the server does not answer") as refused:
        kept.query("SELECT 1")
    assert "secret" not in str(refused.value)


def test_query__ledgers_in_another_database__each_has_its_own_pool(
    store: Postgres, stack_environment: Mapping[str, str]
) -> None:
    apart = replace(store, ledger_url=stack_environment["DATABASE_URL"])

    with apart.pooled() as kept:
        databases = [place.query("SELECT current_database()") for place in (kept, kept.ledgers)]
        pids = [{place.query(_PID)[0] for _ in range(2)} for place in (kept, kept.ledgers)]

    assert databases[0] != databases[1]
    assert [len(one) for one in pids] == [1, 1]


def _pid(store: Postgres) -> int:
    with store.connect() as connection:
        return int(connection.execute(_PID).fetchall()[0][0])


def test_work__sessions_are_kept__all_of_it_uses_one_that_is_closed_at_the_end(store: Postgres) -> None:
    with kept_sessions():
        with kept_sessions(), store.lease("work"):
            first = _pid(store)
        asked = [_pid(store), *store.query(_PID)[0], _pid(replace(store, stop=Event()))]
        settings = store.query(_SETTINGS)

    assert len({first, *asked}) <= 2
    assert settings == store.query(_SETTINGS)
    wait_until_alone(store)


def test_work__sessions_are_kept_and_one_is_in_use__another_is_opened(store: Postgres) -> None:
    with kept_sessions(), store.connect() as connection, ThreadPoolExecutor(1) as other:
        ((own,),) = connection.execute(_PID).fetchall()
        first, second = (other.submit(_pid, store).result() for _ in range(2))

    assert own != first == second


def test_work__fails_on_a_kept_session__nobody_gets_that_one(store: Postgres) -> None:
    with kept_sessions():
        before = _pid(store)
        with pytest.raises(psycopg.errors.DivisionByZero), store.connect() as connection:
            connection.execute("CREATE TABLE half (); SELECT 1 / 0")

        assert _pid(store) != before
        assert store.query("SELECT to_regclass('half')") == [(None,)]


def test_work__kept_session_was_read_only_or_stopped__serves_any_other(store: Postgres) -> None:
    stop = Event()
    with kept_sessions(), closing(store.open()) as moment:
        moment.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        ((snapshot,),) = moment.execute("SELECT pg_export_snapshot()").fetchall()
        with replace(store, stop=stop).as_of(snapshot) as connection:
            ((before,),) = connection.execute(_PID).fetchall()
        stop.set()

        with store.connect() as connection:
            connection.execute("CREATE TABLE written ()")
            asked = connection.execute(f"{_PID}, current_setting('transaction_isolation')").fetchall()

    assert asked == [(before, "read committed")]


def test_work__server_has_closed_the_kept_session__another_is_opened(store: Postgres) -> None:
    with kept_sessions():
        before = _pid(store)
        with closing(store.open()) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [before])

        assert _pid(store) != before


def test_work__process_is_forked__speaks_on_sessions_of_its_own(store: Postgres) -> None:
    with kept_sessions():
        before = _pid(store)
        with get_context("fork").Pool(1) as child:
            theirs = child.apply(_pid, [store])

        assert _pid(store) == before != theirs
