"""Sessions: state that outlives a request, and only in its own session."""

import threading
import time
import uuid

import pytest
from clickhouse_connect.driver.client import Client

from tests.embedded.clickhouse_harness import Server, wait_until

_STATE = (
    "SELECT getSetting('max_block_size'), currentDatabase(), (SELECT count() FROM system.tables WHERE is_temporary)"
)


def _new_session() -> str:
    return uuid.uuid4().hex


def test_session__temporary_table__lives_in_it_alone(clickhouse_server: Server, clickhouse_client: Client) -> None:
    other = clickhouse_server.client()
    clickhouse_client.command("CREATE TEMPORARY TABLE mine (a UInt64)")
    clickhouse_client.insert("mine", [[1], [2]], ["a"])
    clickhouse_client.command("INSERT INTO mine VALUES (3)")

    assert clickhouse_client.query("SELECT sum(a) FROM mine").result_rows == [(6,)]
    assert clickhouse_server.error("SELECT * FROM mine") == (404, "60")
    with pytest.raises(Exception, match="UNKNOWN_TABLE"):
        other.query("SELECT * FROM mine")


def test_session__set_and_use__stay_and_yield_to_the_request(clickhouse_server: Server) -> None:
    session = _new_session()
    before = clickhouse_server.post(_STATE).data
    clickhouse_server.post("SET max_block_size = 4321", session_id=session, log_comment="with the SET")
    clickhouse_server.post("USE system", session_id=session)

    kept = clickhouse_server.post(_STATE, session_id=session).data
    overridden = clickhouse_server.post(_STATE, session_id=session, max_block_size=77, database="analytics").data
    kept_still = clickhouse_server.post(_STATE, session_id=session).data
    comment = clickhouse_server.post("SELECT getSetting('log_comment')", session_id=session).data

    assert (kept, overridden, kept_still) == (b"4321\tsystem\t0\n", b"77\tanalytics\t0\n", b"4321\tsystem\t0\n")
    assert comment == b"\n"
    assert clickhouse_server.post(_STATE).data == before


def test_session__expired__is_gone_with_its_state(clickhouse_server: Server) -> None:
    session, before = _new_session(), clickhouse_server.post(_STATE).data
    clickhouse_server.post("CREATE TEMPORARY TABLE short (a UInt8)", session_id=session, session_timeout=0)
    clickhouse_server.post("SELECT 1", session_id=_new_session(), session_timeout=0)
    time.sleep(0.05)

    assert clickhouse_server.error("SELECT 1", session_id=session, session_check=1) == (500, "372")
    assert [clickhouse_server.post(_STATE).data for _ in range(5)] == [before] * 5
    assert clickhouse_server.post(_STATE, session_id=session).data == before


def test_session__busy__refuses_a_second_request(clickhouse_server: Server, clickhouse_client: Client) -> None:
    session, sql = _new_session(), "SELECT sleepEachRow(1.5) FROM numbers(1) SETTINGS max_threads = 1"
    thread = threading.Thread(target=clickhouse_server.post, args=(sql,), kwargs={"session_id": session})
    question = "SELECT count() FROM system.processes WHERE query LIKE 'SELECT sleepEachRow%'"

    thread.start()
    assert wait_until(lambda: clickhouse_client.command(question) == 1)
    busy = clickhouse_server.error("SELECT 1", session_id=session)
    thread.join(10)

    assert busy == (423, "373")
    assert clickhouse_server.post("SELECT 1", session_id=session).data == b"1\n"


def test_session__requests_in_a_row__are_never_refused(clickhouse_client: Client) -> None:
    assert [clickhouse_client.command(f"SELECT {n}") for n in range(200)] == list(range(200))


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"session_id": "never-began", "session_check": "1"}, (500, "372")),
        ({"session_id": "x", "session_timeout": "3601"}, (500, "374")),
        ({"session_id": "x", "session_timeout": "-1"}, (500, "374")),
        ({"session_id": "x", "session_timeout": "soon"}, (500, "374")),
    ],
)
def test_session__bad_parameters__are_refused(
    clickhouse_server: Server, params: dict[str, str], expected: tuple[int, str]
) -> None:
    assert clickhouse_server.error("SELECT 1", **params) == expected


def test_session__many_clients_without_state__need_no_handle_each(clickhouse_server: Server) -> None:
    clients = [clickhouse_server.client() for _ in range(40)]

    assert [client.command("SELECT 1") for client in clients] == [1] * 40


def test_session__readonly_set_in_it__does_not_poison_the_server(clickhouse_server: Server) -> None:
    session = _new_session()
    create, drop = "CREATE TABLE analytics.yes (a UInt8) ENGINE = Memory", "DROP TABLE analytics.yes"
    clickhouse_server.post("SET readonly = 2", session_id=session)
    refused = clickhouse_server.error(create, session_id=session)
    clickhouse_server.post("SELECT 1", session_id=session, session_timeout=0)
    time.sleep(0.05)

    writable = [clickhouse_server.post(sql).status for _ in range(5) for sql in (create, drop)]

    assert refused == (500, "164")
    assert writable == [200] * 10
