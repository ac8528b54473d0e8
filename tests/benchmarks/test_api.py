"""The benchmark of the read API: its load is honest about waiting, and all of it runs on small stores."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmarks.api_load import Answered, Client

ROOT = Path(__file__).parents[2]
PAUSE = 0.05


class _Slow(BaseHTTPRequestHandler):
    """Answers one after the other, each after a pause; `/full` always has enough."""

    protocol_version = "HTTP/1.1"
    one_by_one = threading.Lock()

    def do_GET(self) -> None:
        with self.one_by_one:
            time.sleep(PAUSE)
        self.send_response(503 if self.path == "/full" else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Nothing is told."""


@pytest.fixture
def client() -> Iterator[Client]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Slow) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Client(server.server_port, {})
        server.shutdown()


def test_paced__service_is_slower_than_the_rate__waiting_counts(client: Client) -> None:
    found = client.paced("/", rate=100, seconds=0.1, expected=200)

    # The tenth was due after 0.1 s, and had nine before it.
    assert len(found.seconds) == found.wanted == 10
    assert found.quantile(1) >= 10 * PAUSE - 0.1


def test_paced__service_has_enough__is_not_answered(client: Client) -> None:
    found = client.paced("/full", rate=20, seconds=0.1, expected=200)

    assert (found.wanted, found.seconds, found.quantile(0.5)) == (2, [], float("inf"))


def test_quantile__some_were_not_answered__count_as_the_slowest() -> None:
    found = Answered(100, [number / 1000 for number in range(98)])

    assert (found.quantile(0.5), found.quantile(0.99)) == (0.049, float("inf"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_benchmark__of_small_stores__asks_every_endpoint_and_page() -> None:
    sizes = ("--events=5000", "--accounts=4", "--large=5000", "--identities=400", "--product-events=5000")
    command = [sys.executable, "-m", "benchmarks.api", *sizes, "--seconds=0.1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    for shown in ("bot-summary, large account", "an identity's segments", "product events: api/slowest", "/tokens"):
        assert shown in done.stdout
