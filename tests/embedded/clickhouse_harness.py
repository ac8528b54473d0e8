"""A real server in a process of its own, and clients that talk to it."""

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import clickhouse_connect
import urllib3
from clickhouse_connect.driver.client import Client

PASSWORD = "correct horse"
_MODULE = "analytics_pipeline.embedded.clickhouse_server"
_START_SECONDS = 30


def server_command(path: Path, *options: str) -> list[str]:
    """Returns the command line of a server; a later option wins over an earlier one."""
    return [sys.executable, "-m", _MODULE, "--path", str(path), "--port", "0", "--database", "analytics", *options]


def server_environment(password: str = PASSWORD) -> dict[str, str]:
    """Returns the environment of a server."""
    return {**os.environ, "CLICKHOUSE_SERVER_PASSWORD": password}


def run_refused(path: Path, *options: str, password: str = PASSWORD) -> tuple[int, str, str]:
    """Runs a server that must end by itself; returns its code, its stdout and its stderr."""
    done = subprocess.run(
        server_command(path, *options),
        env=server_environment(password),
        capture_output=True,
        text=True,
        timeout=_START_SECONDS,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@dataclass(frozen=True)
class Server:
    """A running server."""

    path: Path
    process: "subprocess.Popen[str]"
    url: str

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def client(self, **options: Any) -> Client:
        defaults = {"username": "default", "password": PASSWORD, "database": "analytics"}
        return clickhouse_connect.get_client(host="127.0.0.1", port=self.port, **{**defaults, **options})

    def post(self, body: Any, *, method: str = "POST", headers: Any = None, **params: Any) -> urllib3.BaseHTTPResponse:
        """Sends one request as another program would, without clickhouse-connect's retries and checks."""
        login = {"X-ClickHouse-User": "default", "X-ClickHouse-Key": PASSWORD}
        return urllib3.request(
            method, f"{self.url}/?{urlencode(params)}", body=body, headers={**login, **(headers or {})}, retries=False
        )

    def error(self, body: Any, **options: Any) -> tuple[int, str | None]:
        """Returns the status and the ClickHouse code of a request."""
        answer = self.post(body, **options)
        return answer.status, answer.headers.get("X-ClickHouse-Exception-Code")

    def resident_bytes(self) -> int:
        fields = Path(f"/proc/{self.process.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends the signal and returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=15)


@contextlib.contextmanager
def running_server(path: Path, *options: str) -> Iterator[Server]:
    """Starts a server and waits for its ready line; kills it at the end unless it has ended."""
    process = subprocess.Popen(
        server_command(path, *options), env=server_environment(), stdout=subprocess.PIPE, text=True
    )
    try:
        yield Server(path, process, _ready_url(process))
    finally:
        process.kill()
        process.wait(timeout=15)
        if process.stdout:
            process.stdout.close()


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> bool:
    """Polls for a condition; returns whether it came true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


@contextlib.contextmanager
def temporary_table(client: Client, columns: str = "a UInt64, b String", order_by: str = "a") -> Iterator[str]:
    """Creates an empty table with a name of its own."""
    name = f"t_{uuid.uuid4().hex}"
    client.command(f"CREATE TABLE {name} ({columns}) ENGINE = MergeTree ORDER BY {order_by}")
    try:
        yield name
    finally:
        client.command(f"DROP TABLE {name}")


def _ready_url(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        assert selector.select(_START_SECONDS), "the server did not become ready"
    word, _, url = process.stdout.readline().strip().partition(" ")
    assert word == "ready", f"the server ended with {process.wait(timeout=5)}"
    return url
