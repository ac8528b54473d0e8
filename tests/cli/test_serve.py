"""`analytics-pipeline serve` as a process of its own: it answers, and ends when it is told to."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from analytics_pipeline.embedded.engines import is_free
from tests.cli.commands import run
from tests.product import Product

ROOT = Path(__file__).parents[2]
_SECONDS = 60


@pytest.fixture
def port(empty_product: Product) -> Iterator[int]:
    """Where it listens, over the test's product, without tokens."""
    assert empty_product
    chosen = next(port for port in range(18_093, 18_193) if is_free(port))
    command = [sys.executable, "-m", "analytics_pipeline", "serve", "--anonymous", "--port", str(chosen)]
    server = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE)
    try:
        _wait_for(chosen, server)
        yield chosen
    finally:
        server.send_signal(signal.SIGTERM)
        _, said = server.communicate(timeout=_SECONDS)
    # The server ends in order, and then as one that the signal has ended.
    assert (server.returncode, said) == (-signal.SIGTERM, b"")


def _wait_for(port: int, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _SECONDS
    while is_free(port):
        assert server.poll() is None, server.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _get(port: int, path: str, **headers: str) -> tuple[int, dict[str, str], object]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    found = answer.status, {name.lower(): value for name, value in answer.getheaders()}, json.load(answer)
    connection.close()
    return found


def test_serve__by_this_machine__answers_with_what_is_there(port: int) -> None:
    status, headers, body = _get(port, "/v1/pipeline/costs?hours=1")
    refused, _, problem = _get(port, "/v1/accounts/1/overview?since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z")
    rebound, _, _ = _get(port, "/v1/enablements", Host="elsewhere.example.com")

    assert (status, isinstance(body, dict)) == (200, True)
    assert "server" not in headers
    # Neither a refusal nor a stranger is a defect, of which standard error would tell.
    assert (refused, rebound) == (400, 401)
    assert isinstance(problem, dict)
    assert problem["type"] == "/problems/invalid-question"


def test_serve__anonymous_beyond_this_machine__is_refused() -> None:
    done = run("serve", "--anonymous", "--host", "0.0.0.0")  # noqa: S104 - that is the point

    assert done.exit_code == 2
    assert "--anonymous is for this machine alone" in done.output
