"""An HTTP server that takes what is posted to it and answers as a test says, however badly."""

import gzip
import json
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

_DRIP_SECONDS = 0.02


@dataclass(frozen=True)
class Request:
    """One post; header fields by their names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    connection: int

    @property
    def ids(self) -> list[int]:
        return [json.loads(line)["event_log_id"] for line in gzip.decompress(self.body).splitlines()]


@dataclass(frozen=True)
class Reply:
    """`raw` goes out instead of an answer, and then the connection ends; with `drips`, bytes follow for ever."""

    status: int = 204
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    raw: bytes | None = None
    drips: bytes = b""


@dataclass
class Receiver:
    """`reply` decides about each request, after it was taken."""

    reply: Callable[[Request], Reply] = lambda _: Reply()
    port: int = 0
    scheme: str = "http"
    got: list[Request] = field(default_factory=list)
    closing: Event = field(default_factory=Event)

    @property
    def ids(self) -> list[list[int]]:
        return [request.ids for request in self.got]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    receiver: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, body, id(self))
        self.receiver.got.append(request)
        # Who has given up does not hear the answer.
        with suppress(OSError):
            self._say(self.receiver.reply(request))

    do_GET = do_PUT = do_POST  # noqa: N815

    def _say(self, reply: Reply) -> None:
        if reply.raw is not None:
            self.close_connection = True
            self.wfile.write(reply.raw)
            while reply.drips and not self.receiver.closing.wait(_DRIP_SECONDS):
                self.wfile.write(reply.drips)
            return
        self.send_response(reply.status)
        for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)

    def log_message(self, *_: object) -> None:
        """Be silent."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """Be silent: a client that gives up is what many tests are about."""


@contextmanager
def receiving(receiver: Receiver, context: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """Serves on the loopback address, with TLS where there is a context."""
    handler = type("Handler", (_Handler,), {"receiver": receiver})
    server = _Server(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.block_on_close = False
    if context is not None:
        receiver.scheme = "https"
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    receiver.port = server.server_port
    try:
        yield receiver
    finally:
        receiver.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
