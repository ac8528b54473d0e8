"""Several client processes at once, and what is left when a client or the server dies."""

import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from tests.embedded.clickhouse_harness import PASSWORD, Server, running_server, wait_until

_spawn = multiprocessing.get_context("spawn")


def count(client: Client, table: str) -> Any:
    return client.command(f"SELECT count() FROM {table}")


def test_insert__client_leaves_in_the_middle__leaves_no_rows(
    clickhouse_server: Server, clickhouse_client: Client, clickhouse_table: str
) -> None:
    query = f"INSERT%20INTO%20analytics.{clickhouse_table}%20FORMAT%20TabSeparated"
    head = (
        f"POST /?query={query} HTTP/1.1\r\nHost: x\r\nX-ClickHouse-Key: {PASSWORD}\r\nContent-Length: 1000000\r\n\r\n"
    )

    with socket.create_connection(("127.0.0.1", clickhouse_server.port)) as connection:
        connection.sendall(head.encode() + b"1\tx\n" * 1000)
        assert wait_until(lambda: _inserting(clickhouse_client) == 1)

    assert wait_until(lambda: _inserting(clickhouse_client) == 0)
    assert count(clickhouse_client, clickhouse_table) == 0


def _inserting(client: Client) -> Any:
    return client.command("SELECT count() FROM system.processes WHERE query_kind = 'Insert'")


def _insert_for_ever(port: int, table: str) -> None:
    client = _process_client(port)

    def rows() -> Generator[bytes, None, None]:
        while True:
            yield b"1\tx\n" * 1000
            time.sleep(0.01)

    client.raw_insert(table, ["a", "b"], rows(), fmt="TabSeparated")


@pytest.mark.slow
def test_insert__client_process_killed__leaves_no_rows(
    clickhouse_server: Server, clickhouse_client: Client, clickhouse_table: str
) -> None:
    writer = _spawn.Process(target=_insert_for_ever, args=(clickhouse_server.port, clickhouse_table))
    writer.start()
    assert wait_until(lambda: _inserting(clickhouse_client) == 1, 20)

    os.kill(writer.pid or 0, signal.SIGKILL)
    writer.join(10)

    assert wait_until(lambda: _inserting(clickhouse_client) == 0)
    assert count(clickhouse_client, clickhouse_table) == 0


def _insert_and_read(port: int, table: str, worker: int, inserts: int) -> Any:
    client = _process_client(port)
    for number in range(inserts):
        client.insert(table, [[worker * 1000 + number, "x"]] * 10, ["a", "b"], settings={"max_threads": worker + 1})
        threads = client.command("SELECT getSetting('max_threads')", settings={"max_threads": worker + 1})
        assert threads == worker + 1
    return client.command(f"SELECT count() FROM {table} WHERE intDiv(a, 1000) = {worker}")


@pytest.mark.slow
def test_concurrency__several_processes__see_their_own_rows_and_settings(
    clickhouse_server: Server, clickhouse_client: Client, clickhouse_table: str
) -> None:
    workers, inserts = 4, 15
    with ProcessPoolExecutor(workers, _spawn) as pool:
        arguments = [(clickhouse_server.port, clickhouse_table, worker, inserts) for worker in range(workers)]
        seen = list(pool.map(_insert_and_read, *zip(*arguments, strict=True)))

    assert seen == [10 * inserts] * workers
    assert count(clickhouse_client, clickhouse_table) == 10 * inserts * workers


def _insert_until_gone(port: int, first: int, acknowledged: Path) -> None:
    client = _process_client(port)
    with acknowledged.open("w", buffering=1) as log:
        for number in range(first, first + 100_000):
            try:
                client.insert("acked", [[number]] * 5, ["a"])
            except Exception:  # noqa: BLE001 - the server was killed: what was acknowledged until now must be there
                return
            log.write(f"{number}\n")


def test_crash__server_killed_during_inserts__keeps_every_acknowledged_row(tmp_path: Path) -> None:
    logs = [tmp_path / f"acknowledged-{n}" for n in range(2)]
    with running_server(tmp_path / "server") as server:
        server.client().command("CREATE TABLE acked (a UInt64) ENGINE = MergeTree ORDER BY a")
        writers = [
            _spawn.Process(target=_insert_until_gone, args=(server.port, n * 1_000_000, log))
            for n, log in enumerate(logs)
        ]
        for writer in writers:
            writer.start()
        assert wait_until(lambda: all(log.exists() and len(log.read_text()) > 200 for log in logs), 30)
        server.stop(signal.SIGKILL)
        for writer in writers:
            writer.join(20)
    acknowledged = {int(line) for log in logs for line in log.read_text().split()}

    with running_server(tmp_path / "server") as server:
        found: dict[int, int] = dict(server.client().query("SELECT a, count() FROM acked GROUP BY a").result_rows)  # type: ignore[arg-type]

    assert acknowledged - found.keys() == set()
    assert set(found.values()) == {5}


def _process_client(port: int) -> Client:
    import clickhouse_connect

    return clickhouse_connect.get_client(
        host="127.0.0.1", port=port, username="default", password=PASSWORD, database="analytics"
    )
