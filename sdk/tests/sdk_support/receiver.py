"""A real HTTP server that takes batches as the ingestion service does, keeps events by id, and fails as it is told."""

import gzip
import json
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Verdict = dict[str, Any]
Fault = Literal[
    "ok", "500", "503", "429", "400", "401", "307", "half", "cut", "close", "garbage", "other", "silent", "drip"
]


@dataclass
class Seen:
    """A request as it came in."""

    request_id: str
    attempt: int
    ids: list[str]
    peer: tuple[str, int]
    headers: dict[str, str]
    envelope: dict[str, Any]


def accept(event: dict[str, Any]) -> Verdict:
    return {"verdict": "accepted"}


@dataclass
class Receiver:
    """`faults` are what happens to the next requests, `then` to all that follow. `judge` gives verdicts on new events.

    `half` stores and sends half an answer, `cut` stores and closes, `close` closes without storing, `other` answers
    another request, `silent` waits for `silence` seconds, `drip` sends a byte now and then for as long.
    """

    faults: deque[Fault] = field(default_factory=deque)
    then: Fault = "ok"
    judge: Callable[[dict[str, Any]], Verdict | None] = accept
    unreadable: Callable[[list[dict[str, Any]]], bool] = lambda events: False
    retry_after: str | None = None
    silence: float = 1.0
    seen: list[Seen] = field(default_factory=list)
    stored: dict[str, dict[str, Any]] = field(default_factory=dict)
    times: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def running(self) -> Iterator["Receiver"]:
        """Serve, at the port of the last time if there was one."""
        server = _Server(("127.0.0.1", self.port), _Handler)
        server.receiver = self
        self.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.hang_up()
            server.server_close()
            thread.join()

    def next_fault(self) -> Fault:
        return self.faults.popleft() if self.faults else self.then

    def store(self, events: list[dict[str, Any]]) -> list[Verdict]:
        with self.lock:
            verdicts = [self._verdict(event) for event in events]
            return [{"index": index} | verdict for index, verdict in enumerate(verdicts) if verdict is not None]

    def _verdict(self, event: dict[str, Any]) -> Verdict | None:
        if event["id"] in self.stored:
            return {"verdict": "duplicate"}
        verdict = self.judge(event)
        if verdict is not None and verdict["verdict"] == "accepted":
            self.stored[event["id"]] = event
        return verdict


class _Server(ThreadingHTTPServer):
    receiver: Receiver
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._open: list[socket.socket] = []

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.append(request)
        super().process_request(request, client_address)

    def hang_up(self) -> None:
        """End the connections that are kept alive, as the end of a process does."""
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        receiver = self.server.receiver
        body = self.rfile.read(int(self.headers["Content-Length"]))
        batch = json.loads(gzip.decompress(body))
        events = batch["events"]
        ids = [event["id"] for event in events]
        peer = (self.client_address[0], self.client_address[1])
        receiver.seen.append(Seen(batch["request_id"], batch["attempt"], ids, peer, dict(self.headers), batch))
        fault = receiver.next_fault()
        if fault.isdigit():
            self._answer(int(fault), b"{}")
        elif fault == "close":
            self._hang_up()
        elif fault == "silent":
            time.sleep(receiver.silence)
            self._hang_up()
        elif fault == "drip":
            self._drip(receiver.silence)
        elif receiver.unreadable(events):
            self._answer(400, b'{"title": "unreadable"}')
        else:
            self._stored(fault, batch["request_id"], receiver.store(events))

    def _stored(self, fault: Fault, request_id: str, verdicts: list[Verdict]) -> None:
        answered = "00000000-0000-7000-8000-000000000000" if fault == "other" else request_id
        answer = json.dumps({"request_id": answered, "verdicts": verdicts}).encode()
        if fault == "cut":
            self._hang_up()
        elif fault == "half":
            self._answer(200, answer, sent=len(answer) // 2)
        else:
            self._answer(200, b"<html>" if fault == "garbage" else answer)

    def _answer(self, status: int, body: bytes, sent: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if self.server.receiver.retry_after is not None and status in (429, 503):
            self.send_header("Retry-After", self.server.receiver.retry_after)
        if status == 307:
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.end_headers()
        self.wfile.write(body[:sent])
        if sent is not None:
            self._hang_up()

    def _drip(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        with suppress(OSError):
            while time.monotonic() < until:
                self.wfile.write(b" ")
                time.sleep(0.02)
        self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
