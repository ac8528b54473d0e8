"""Ingestion of events: what a worker takes in a second, beside FastAPI with pydantic, and what it stores.

    python -m benchmarks.event_ingestion  [--events N]

Each server is a process of its own on this machine, asked over the same connections, with the same bodies: batches of
100 events. To verdict nothing is stored; the figure is events for each second of the server's processor time. Ours
makes the rows in that time, under the privacy policy; the other one validates and answers, or makes rows as well.
Acknowledged means stored in ClickHouse, once by id, by `analytics-pipeline ingest` on the embedded engines.
"""

import argparse
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psutil
from rich.table import Table

from analytics_pipeline_sdk.identifiers import uuid7
from benchmarks.rows import console

BATCH = 100
CONNECTIONS = 4
ROUNDS = 3
_USER = str(uuid.uuid4())
_EVENTS: tuple[dict[str, Any], ...] = (
    {"type": "api_request", "service": "web", "endpoint": "/tasks/{id}", "method": "GET", "status_code": 200},
    {"type": "task_completed", "task_id": _USER, "user_id": _USER, "exit_code": 0},
    {"type": "webhook_processed", "provider": "github", "event_type": "push", "delivery_id": "d", "success": True},
    {"type": "application_error", "service": "web", "error_type": "Timeout", "error_message": "no answer in 30 s"},
    {"type": "cocoon_connected", "cocoon_id": _USER, "user_id": _USER},
)


def bodies(events: int, bad: int = 0) -> list[bytes]:
    """Batches of the SDK; of every hundred events so many are bad."""
    return [_batch(bad) for _ in range(events // BATCH)]


def _batch(bad: int) -> bytes:
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    events = [
        {
            "id": uuid7(time.time_ns()),
            "timestamp": now,
            "event": {**_EVENTS[number % len(_EVENTS)], "duration_ms": "x" if number < bad else 12},
        }
        for number in range(BATCH)
    ]
    head = {"request_id": str(uuid.uuid4()), "attempt": 1, "sent_at": now, "sdk": "python/1", "service": "bench"}
    return json.dumps({**head, "events": events}).encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=60_000)
    events = parser.parse_args().events
    peers = ("FastAPI and pydantic", "ratio", "the same, with rows", "ratio")
    table = Table("events a second", "ours", *peers, title="Ingestion", title_justify="left")
    figures = {bad: verdicts(events, bad) for bad in (0, 1)}
    for bad, (ours, *others) in figures.items():
        name = "to verdict, of processor time" + (", 1 of 100 bad" if bad else "")
        compared = [text for theirs in others for text in (f"{theirs:,.0f}", f"{ours / theirs:.1f}")]
        table.add_row(name, f"{ours:,.0f}", *compared)
    wall, processor = acknowledged(events)
    table.add_row("acknowledged in ClickHouse", f"{wall:,.0f}")
    table.add_row("acknowledged, of the worker's processor time", f"{processor:,.0f}")
    console.print(table)
    console.print(f"One bad event of 100 costs {figures[0][0] / figures[1][0]:.2f} times as much.")


def verdicts(events: int, bad: int) -> list[float]:
    """Those of ours, of theirs, and of theirs with rows: the medians of rounds in turns."""
    sent = bodies(events, bad)
    found: dict[str, list[float]] = {"ours": [], "theirs": [], "theirs_with_rows": []}
    for _ in range(ROUNDS):
        for name, rates in found.items():
            with _server(f"benchmarks.event_servers:{name}") as (port, process):
                _send(port, sent[:20], "")
                before = _processor_seconds(process)
                _send(port, sent, "")
                rates.append(events / (_processor_seconds(process) - before))
    return [statistics.median(rates) for rates in found.values()]


def acknowledged(events: int) -> tuple[float, float]:
    """Events that are stored in a second, and in a second of the worker's processor time; the median of the rounds."""
    from analytics_pipeline.api import tokens
    from analytics_pipeline.config import Settings
    from analytics_pipeline.embedded.stack import Stack
    from analytics_pipeline.migrations import migrate
    from analytics_pipeline.resources.postgres import postgres

    with tempfile.TemporaryDirectory(prefix="analytics-benchmark-") as directory:
        stack = Stack(Path(directory))
        os.environ.update(stack.up())
        try:
            migrate(Settings.load())
            secret = tokens.create(postgres(Settings.load()), "benchmark", "ingest", organisation_id=1).secret
            return _acknowledged(events, secret)
        finally:
            stack.down()


def _acknowledged(events: int, secret: str) -> tuple[float, float]:
    walls, processors = [], []
    with _server("analytics_pipeline.api.ingestion.app:create_app") as (port, process):
        _send(port, bodies(5_000), secret)
        for _ in range(ROUNDS):
            sent = bodies(events)
            before, began = _processor_seconds(process), time.perf_counter()
            # Many senders wait for their answers at the same time, as services do.
            _send(port, sent, secret, connections=64)
            walls.append(events / (time.perf_counter() - began))
            processors.append(events / (_processor_seconds(process) - before))
    return statistics.median(walls), statistics.median(processors)


@contextmanager
def _server(factory: str) -> Iterator[tuple[int, psutil.Process]]:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    options = ["--factory", "--port", str(port), "--no-access-log", "--log-level", "error"]
    process = subprocess.Popen([sys.executable, "-m", "uvicorn", factory, *options])
    try:
        _wait(port)
        yield port, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit("the server did not begin")


def _send(port: int, sent: Sequence[bytes], secret: str, connections: int = CONNECTIONS) -> None:
    """Send all bodies over so many connections; every one has to be answered event by event."""
    wrong: list[int] = []

    def work(some: Sequence[bytes]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
        for body in some:
            connection.request("POST", "/v1/events/batch", body, headers)
            answer = connection.getresponse()
            if answer.status != 200 or len(json.loads(answer.read())["verdicts"]) != BATCH:
                wrong.append(answer.status)

    threads = [threading.Thread(target=work, args=(sent[number::connections],)) for number in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise SystemExit(f"{len(wrong)} requests were not answered: {wrong[:3]}")


def _processor_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    main()
