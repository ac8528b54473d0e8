"""A server on this machine that takes batches of any event SDK, counts their events, and answers at once."""

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from multiprocessing.connection import Connection
from threading import Thread
from typing import Any


class Sink:
    """The sink in a process of its own, so that it does not wait for the interpreter of what is measured."""

    def __init__(self, control: Connection, port: int) -> None:
        self._control = control
        self.url = f"http://127.0.0.1:{port}"

    def received(self) -> int:
        """How many different events came since the last time."""
        self._control.send("count")
        count: int = self._control.recv()
        return count


@contextmanager
def event_sink() -> Iterator[Sink]:
    """Runs a sink until the end of the block."""
    ours, theirs = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=_serve, args=(theirs,))
    process.start()
    try:
        yield Sink(ours, ours.recv())
    finally:
        ours.send("end")
        process.join()


def _serve(control: Connection) -> None:
    server = _Server(("127.0.0.1", 0), _Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    control.send(server.server_port)
    while control.recv() == "count":
        control.send(len(server.seen))
        server.seen.clear()
    server.shutdown()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.seen: Counter[str] = Counter()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: the processes that send end without a word."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            batch = json.loads(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
        except (ValueError, EOFError):  # its process ended in the middle of it
            self.close_connection = True
            return
        events: list[Any] = next((batch[name] for name in ("events", "batch") if name in batch), [])
        for event in events:
            self.server.seen[json.dumps(event, sort_keys=True)] += 1
        answer = json.dumps(_answer(batch, events)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


def _answer(batch: dict[str, Any], events: list[Any]) -> dict[str, Any]:
    verdicts = [{"index": index, "verdict": "accepted"} for index in range(len(events))]
    return {"request_id": batch.get("request_id"), "verdicts": verdicts, "code": 200, "status": 1, "success": True}
