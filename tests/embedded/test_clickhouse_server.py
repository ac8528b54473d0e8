"""The life of the server: start, lock, refusals, end."""

import signal
import threading
import time
from collections.abc import Generator
from pathlib import Path

import pytest
import urllib3

from tests.embedded.clickhouse_harness import PASSWORD, Server, run_refused, running_server, wait_until
from tests.thorough import rarely


def test_ping__without_credentials__answers_ok(clickhouse_server: Server) -> None:
    answer = urllib3.request("GET", f"{clickhouse_server.url}/ping")

    assert (answer.status, answer.data) == (200, b"Ok.\n")


def test_start__database_option__makes_an_atomic_database(clickhouse_server: Server) -> None:
    client = clickhouse_server.client()

    assert client.ping()
    assert client.command("SELECT engine FROM system.databases WHERE name = currentDatabase()") == "Atomic"
    assert client.command("SELECT currentDatabase()") == "analytics"


def test_start__address_of_the_network__is_refused(tmp_path: Path) -> None:
    code, out, err = run_refused(tmp_path, "--host", "0.0.0.0")  # noqa: S104

    assert (code, out) == (3, "")
    assert err == (
        "clickhouse_server: --host 0.0.0.0 is not a loopback address: this server is for one machine. Use 127.0.0.1\n"
    )


def test_start__no_password__is_refused(tmp_path: Path) -> None:
    code, out, err = run_refused(tmp_path, password="")

    assert (code, out) == (3, "")
    assert err == "clickhouse_server: CLICKHOUSE_SERVER_PASSWORD is not set: choose a password and export it\n"


def test_start__port_in_use__names_the_repair(tmp_path: Path, clickhouse_server: Server) -> None:
    code, _, err = run_refused(tmp_path, "--port", str(clickhouse_server.port))

    assert code == 3
    assert f"Cannot listen on 127.0.0.1:{clickhouse_server.port}" in err
    assert "choose another --port" in err


def test_start__directory_of_a_running_server__names_it(clickhouse_server: Server) -> None:
    code, out, err = run_refused(clickhouse_server.path)

    assert (code, out) == (3, "")
    assert err == (
        f"clickhouse_server: {clickhouse_server.path} is in use by the ClickHouse server with process id "
        f"{clickhouse_server.process.pid}: use that server, stop it, or choose another --path\n"
    )
    assert clickhouse_server.client().command("SELECT 1") == 1


def test_start__after_kill__sweeps_temporary_files_and_keeps_the_data(tmp_path: Path) -> None:
    with running_server(tmp_path) as first:
        first.client().command("CREATE TABLE kept (a UInt64) ENGINE = MergeTree ORDER BY a AS SELECT 7 AS a")
        (tmp_path / "tmp" / "orphan").write_bytes(b"left by a killed server")
        assert first.stop(signal.SIGKILL) == -signal.SIGKILL

    with running_server(tmp_path) as second:
        assert second.client().query("SELECT a FROM kept").result_rows == [(7,)]
        assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, *rarely(signal.SIGINT)])
def test_stop__query_and_insert_running__ends_soon_with_success(tmp_path: Path, number: signal.Signals) -> None:
    with running_server(tmp_path) as server:
        client, outcome = server.client(), []
        client.command("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")

        def endless_rows() -> Generator[bytes, None, None]:
            while server.process.poll() is None:
                yield b"1\n"
                time.sleep(0.05)

        def run(work: object) -> None:
            with pytest.raises(Exception) as error:  # noqa: PT011
                work()  # type: ignore[operator]
            outcome.append(str(error.value))

        reader, writer = server.client(), server.client()
        works = [
            lambda: reader.query("SELECT count() FROM numbers(1e12) WHERE sipHash64(number) = 1"),
            lambda: writer.raw_insert("t", ["a"], endless_rows(), fmt="TabSeparated"),
        ]
        threads = [threading.Thread(target=run, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        # One for the INSERT, one for the SELECT and one for this question.
        assert wait_until(lambda: client.command("SELECT count() FROM system.processes") == 3)

        began = time.monotonic()
        code = server.stop(number)
        took = time.monotonic() - began
        for thread in threads:
            thread.join(10)

    assert (code, len(outcome)) == (0, 2)
    assert any("QUERY_WAS_CANCELLED" in text for text in outcome)
    assert took < 30
    with running_server(tmp_path) as server:
        assert server.client().command("SELECT count() FROM t") == 0


def test_password__running_server__is_in_no_command_line_and_no_file(clickhouse_server: Server) -> None:
    arguments = Path(f"/proc/{clickhouse_server.process.pid}/cmdline").read_bytes()
    texts = [path.read_bytes() for path in clickhouse_server.path.iterdir() if path.is_file()]

    assert texts
    assert all(PASSWORD.encode() not in text for text in [arguments, *texts])
