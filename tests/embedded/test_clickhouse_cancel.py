"""Query ids, KILL QUERY and clients that leave."""

import threading
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from tests.embedded.clickhouse_harness import Server, wait_until

_LONG_QUERY = "SELECT count() FROM numbers(1e12) WHERE sipHash64(number) = 1"


def running(client: Client, text: str) -> Any:
    """Returns how many queries with the text run, without the question itself."""
    sql = "SELECT count() FROM system.processes WHERE startsWith(query, {text:String})"
    return client.command(sql, {"text": text[:30]})


def test_query_id__given__comes_back_and_cannot_run_twice(clickhouse_server: Server) -> None:
    answer = clickhouse_server.post("SELECT 1", query_id="my-id")
    bad = clickhouse_server.error("SELECT 1", query_id="a\r\nX-Injected: 1")

    assert answer.headers["X-ClickHouse-Query-Id"] == "my-id"
    assert bad == (400, "36")


def test_kill_query__by_the_clients_id__ends_that_query_only(clickhouse_server: Server) -> None:
    admin, outcome = clickhouse_server.client(), {}

    def run(query_id: str) -> None:
        outcome[query_id] = clickhouse_server.error(_LONG_QUERY, query_id=query_id)

    threads = {name: threading.Thread(target=run, args=(name,)) for name in ("victim", "survivor")}
    for thread in threads.values():
        thread.start()
    assert wait_until(lambda: running(admin, _LONG_QUERY) == 2)
    twice = clickhouse_server.error("SELECT 1", query_id="victim")

    admin.command("KILL QUERY WHERE query_id = 'victim'")
    threads["victim"].join(10)
    left = running(admin, _LONG_QUERY)
    admin.command("KILL QUERY WHERE query_id = 'survivor'")
    threads["survivor"].join(10)

    assert twice == (500, "216")
    assert left == 1
    assert outcome == {"victim": (500, "394"), "survivor": (500, "394")}


def test_disconnect__during_a_select__cancels_it(clickhouse_server: Server, clickhouse_client: Client) -> None:
    impatient = clickhouse_server.client(send_receive_timeout=1, query_retries=0)

    with pytest.raises(Exception, match="timed out"):
        impatient.query(_LONG_QUERY)

    assert wait_until(lambda: running(clickhouse_client, _LONG_QUERY) == 0, 5)


def test_disconnect__during_a_stream__cancels_it(clickhouse_server: Server, clickhouse_client: Client) -> None:
    sql = "SELECT number, repeat('x', 100) FROM numbers(1e12)"

    stream: Any = clickhouse_client.raw_stream(sql, fmt="TabSeparated")
    assert len(stream.read(1_000_000)) == 1_000_000
    other = clickhouse_server.client()
    assert running(other, sql) == 1
    stream.close()

    assert wait_until(lambda: running(other, sql) == 0, 5)
