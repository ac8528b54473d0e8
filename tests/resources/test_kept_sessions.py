"""Kept connections: fewer are opened, and nothing else is different."""

from collections.abc import Mapping
from dataclasses import replace

import psycopg
import pytest

from analytics_pipeline.resources.postgres import Postgres

_PID = "SELECT pg_backend_pid()"
_SETTINGS = "SELECT current_setting('application_name'), current_setting('timezone'), current_setting('lock_timeout')"


def test_query__pooled__uses_one_connection_with_our_settings(store: Postgres) -> None:
    with store.pooled() as kept:
        pids = {kept.query(_PID)[0] for _ in range(3)}
        settings = kept.query(_SETTINGS)

    assert len(pids) == 1
    assert settings == store.query(_SETTINGS) == [("analytics_pipeline", "UTC", "5s")]
    assert store.query(_PID)[0] not in pids


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
    monkeypatch.setattr("analytics_pipeline.resources.sessions.CONNECT_TIMEOUT_SECONDS", 0.1)
    with store.pooled(connections=1) as kept:
        ((own,),) = kept.query(_PID)
        with kept.pools[store.url].connection():
            assert kept.query(_PID) != [(own,)]

    assert kept.query("SELECT 1") == [(1,)]


def test_query__pooled_and_the_server_is_gone__says_why(store: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analytics_pipeline.resources.sessions.CONNECT_TIMEOUT_SECONDS", 0.1)
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
