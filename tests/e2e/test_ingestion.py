"""Ingestion in processes of its own: workers and ClickHouse are killed, and nothing is lost or doubled."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import urllib3

from analytics_pipeline.api import tokens
from analytics_pipeline.config import Settings
from analytics_pipeline.migrations import migrate
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.clickhouse.connection import connect
from analytics_pipeline_sdk import AnalyticsClient
from analytics_pipeline_sdk.events import TaskCompleted
from analytics_pipeline_sdk.settings import Settings as Sending
from tests.embedded.clickhouse_harness import PASSWORD, running_server, wait_until
from tests.flows.product_events.samples import TASK, USER, batch, envelope
from tests.product import Product

EVENT = TaskCompleted(task_id=TASK, user_id=USER, duration_ms=5, exit_code=0)  # type: ignore[arg-type]
QUICK = Sending(batch_events=20, flush_interval=0.02, backoff_min=0.05, backoff_max=0.5, request_timeout=5.0)
STORED = "SELECT toString(event_id) FROM analytics_events FINAL ORDER BY ALL"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextmanager
def serving(directory: Path, workers: int = 2) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """`analytics-pipeline ingest` with the settings of the environment; its URL and its process."""
    port = free_port()
    command = [sys.executable, "-m", "analytics_pipeline", "ingest", "--port", str(port), "--workers", str(workers)]
    with (directory / "ingest.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=directory, env=_environment(), stdout=log, stderr=log)
        url = f"http://127.0.0.1:{port}"
        try:
            assert wait_until(lambda: _is_ready(url), 60), (directory / "ingest.log").read_text()
            yield url, process
        finally:
            family = [process.pid, *(child.pid for child in _children(process))]
            process.terminate()
            try:
                process.wait(timeout=40)
            except subprocess.TimeoutExpired:
                for pid in family:
                    _kill(pid)
                process.wait(timeout=10)


def _environment() -> dict[str, str]:
    root = str(Path(__file__).parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join((root, os.environ.get("PYTHONPATH", "")))}


def _is_ready(url: str) -> bool:
    try:
        return urllib3.request("GET", f"{url}/readyz", retries=False, timeout=5).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def _children(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _workers(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    return [child for child in _children(process) if _works(child)]


def _works(child: psutil.Process) -> bool:
    """Whether it takes events; one that was killed a moment ago does not."""
    try:
        return "spawn_main" in " ".join(child.cmdline())
    except psutil.NoSuchProcess:
        return False


@contextmanager
def _tracking(client: AnalyticsClient, found: list[str]) -> Iterator[None]:
    """A thread that tracks events until the end of this; their ids go into `found`."""
    over = threading.Event()

    def track() -> None:
        while not over.wait(0.004):
            identifier = client.track(EVENT)
            if identifier:
                found.append(identifier)

    thread = threading.Thread(target=track)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_sdk__workers_are_killed_while_it_sends__every_event_is_stored_once(
    empty_product: Product, tmp_path: Path
) -> None:
    token = tokens.create(empty_product.postgres, "sdk", "ingest", organisation_id=1).secret
    found: list[str] = []
    with serving(tmp_path) as (url, process):
        client = AnalyticsClient(url, token, "worker", "disk", tmp_path / "spool", settings=QUICK)
        with _tracking(client, found):
            for _ in range(3):
                time.sleep(0.6)
                victims = _workers(process)
                assert victims
                _kill(victims[0].pid)
        # A client that closes while its endpoint is away leaves its events on disk.
        assert client.flush(60)
        assert client.close(60)

    stats = client.stats()
    stored = [one for (one,) in empty_product.clickhouse.query(STORED)]
    assert (stats.is_balanced, stats.rejected, stats.dropped, stats.refused) == (True, {}, {}, {})
    assert stats.delivered + stats.duplicate == len(found) > 100
    assert sorted(stored) == sorted(found)


def test_sdk__clickhouse_is_killed_while_it_sends__every_event_is_stored_once(
    empty_product: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tokens.create(empty_product.postgres, "sdk", "ingest", organisation_id=1).secret
    store, port, found = tmp_path / "clickhouse", str(free_port()), list[str]()
    monkeypatch.setenv("CLICKHOUSE_URL", f"http://default:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{port}/analytics")
    with running_server(store, "--port", port) as first:
        migrate(Settings.load())
        with serving(tmp_path, workers=1) as (url, _):
            client = AnalyticsClient(url, token, "worker", settings=QUICK, spool=tmp_path / "spool")
            with _tracking(client, found):
                time.sleep(1.0)
                first.stop(signal.SIGKILL)
                time.sleep(0.5)
                with running_server(store, "--port", port) as second:
                    time.sleep(1.0)
                    second.stop(signal.SIGKILL)
            with running_server(store, "--port", port):
                # A client that closes while it was told to wait leaves its events on disk.
                assert client.flush(60)
                assert client.close(60)
                with connect(Settings.load(), Tag("tests", "look")) as clickhouse:
                    stored = [one for (one,) in clickhouse.query(STORED)]

    stats = client.stats()
    assert (stats.is_balanced, stats.rejected, stats.dropped, stats.refused) == (True, {}, {}, {})
    assert stats.delivered + stats.duplicate == len(found) > 100
    assert sorted(stored) == sorted(found)


def test_terminated__requests_are_under_way__are_answered_first(empty_product: Product, tmp_path: Path) -> None:
    token = tokens.create(empty_product.postgres, "sdk", "ingest", organisation_id=1).secret
    bodies = [batch(*(envelope() for _ in range(50))) for _ in range(8)]
    answers: list[int] = []

    def send(url: str, body: object) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        try:
            answer = urllib3.request("POST", f"{url}/v1/events/batch", json=body, headers=headers, retries=False)
            answers.append(len(answer.json()["verdicts"]) if answer.status == 200 else 0)
        except urllib3.exceptions.HTTPError:
            answers.append(0)

    with serving(tmp_path, workers=1) as (url, process):
        threads = [threading.Thread(target=send, args=(url, body)) for body in bodies]
        for thread in threads:
            thread.start()
        time.sleep(0.05)
        process.terminate()
        for thread in threads:
            thread.join()
        code = process.wait(timeout=40)

    assert code == -signal.SIGTERM
    assert sum(answers) > 0
    assert len(empty_product.clickhouse.query(STORED)) >= sum(answers)
