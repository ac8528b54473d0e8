"""A server between a client and a real one, on the loopback address, that can fall silent, cut the line, or drip."""

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import parse_qs, urlsplit, urlunsplit

_POLL_SECONDS = 0.05
# A part of an answer that promises more.
HTTP_HEAD = b"HTTP/1.1 200 OK\r\nX-Slow: "
HTTP_BODY = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
HTTP_OBJECT = (
    b"HTTP/1.1 206 Partial Content\r\nContent-Length: 1000000\r\nContent-Range: bytes 0-999999/1000000\r\n"
    b'ETag: "x"\r\nLast-Modified: Fri, 27 Nov 2026 10:00:00 GMT\r\n\r\n'
)

# Of a Unix socket, or host and port; None where there is no server to pass anything on to.
Address: TypeAlias = str | tuple[str, int] | None


@dataclass
class Proxy:
    """Passes on what both ends say until the client says one of `silent_at`, `cut_at` or `drip_at`.

    Then there is no more, the line is cut, or `head` is followed by a byte after each `pause`. `heard` counts
    connections.
    """

    url: str = ""
    silent_at: bytes = b"\0never"
    cut_at: bytes = b"\0never"
    drip_at: bytes = b"\0never"
    head: bytes = HTTP_HEAD
    pause: float = _POLL_SECONDS
    heard: int = 0
    _closing: threading.Event = field(default_factory=threading.Event)

    def serve(self, listener: socket.socket, server: Address) -> None:
        lines = []
        while not self._closing.is_set():
            if select.select([listener], [], [], _POLL_SECONDS)[0]:
                client, _ = listener.accept()
                self.heard += 1
                lines.append(threading.Thread(target=self._pass_on, args=(client, server)))
                lines[-1].start()
        for line in lines:
            line.join()

    def close(self) -> None:
        self._closing.set()

    def _pass_on(self, client: socket.socket, address: Address) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        with client, socket.socket(family) as server, suppress(OSError):
            if address:
                server.connect(address)
            while not self._closing.is_set():
                for end in select.select([client, server] if address else [client], [], [], _POLL_SECONDS)[0]:
                    said = end.recv(1 << 16)
                    if not said or self.cut_at in said:
                        return
                    if self.silent_at in said:
                        self._closing.wait()
                        return
                    if self.drip_at in said:
                        self.drip(client)
                        return
                    (server if end is client else client).sendall(said)

    def drip(self, client: socket.socket) -> None:
        """Answer for ever, so that no wait for the next byte is long."""
        client.sendall(self.head)
        while not self._closing.wait(self.pause):
            client.sendall(b"x")


@contextmanager
def proxy(url: str) -> Iterator[Proxy]:
    """A proxy before the Postgres at `url`, which listens on a Unix socket."""
    options = parse_qs(urlsplit(url).query)
    path = f"{options['host'][0]}/.s.PGSQL.{options['port'][0]}"
    with _before(url, path, "sslmode=disable&gssencmode=disable") as between:
        yield between


@contextmanager
def http_proxy(url: str) -> Iterator[Proxy]:
    """A proxy before the HTTP server at `url`."""
    parts = urlsplit(url)
    with _before(url, (str(parts.hostname), parts.port or 80), parts.query) as between:
        yield between


@contextmanager
def dripping(head: bytes) -> Iterator[str]:
    """The address of an HTTP server that drips after `head`, whatever it is asked."""
    with _before("http://nowhere/", None, "") as between:
        between.head = head
        between.drip_at = b""
        yield between.url


@contextmanager
def _before(url: str, server: Address, query: str) -> Iterator[Proxy]:
    parts = urlsplit(url)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        user = parts.netloc.rpartition("@")[:2]
        address = f"{''.join(user)}127.0.0.1:{listener.getsockname()[1]}"
        between = Proxy(urlunsplit(parts._replace(netloc=address, query=query)))
        serving = threading.Thread(target=between.serve, args=(listener, server))
        serving.start()
        try:
            yield between
        finally:
            between.close()
            serving.join()


@contextmanager
def peer(answer: bytes | None) -> Iterator[int]:
    """The port of a server that takes connections and says `answer` on each, or nothing; then it waits."""
    closing = threading.Event()

    def serve(listener: socket.socket) -> None:
        taken = []
        while not closing.is_set():
            if select.select([listener], [], [], _POLL_SECONDS)[0]:
                connection, _ = listener.accept()
                taken.append(connection)
                if answer is not None:
                    connection.sendall(answer)
                    connection.shutdown(socket.SHUT_WR)
        for connection in taken:
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = threading.Thread(target=serve, args=(listener,))
        serving.start()
        try:
            yield listener.getsockname()[1]
        finally:
            closing.set()
            serving.join()
