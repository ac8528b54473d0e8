"""A server between a client and the real Postgres, on the loopback address, that can fall silent or cut the line."""

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit, urlunsplit

_POLL_SECONDS = 0.05


@dataclass
class Proxy:
    """Passes on what both ends say until the client says one of `silent_at` or `cut_at`; `heard` counts connections."""

    url: str = ""
    silent_at: bytes = b"\0never"
    cut_at: bytes = b"\0never"
    heard: int = 0
    _closing: threading.Event = field(default_factory=threading.Event)

    def serve(self, listener: socket.socket, server: str) -> None:
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

    def _pass_on(self, client: socket.socket, path: str) -> None:
        with client, socket.socket(socket.AF_UNIX) as server, suppress(OSError):
            server.connect(path)
            while not self._closing.is_set():
                for end in select.select([client, server], [], [], _POLL_SECONDS)[0]:
                    said = end.recv(1 << 16)
                    if not said or self.cut_at in said:
                        return
                    if self.silent_at in said:
                        self._closing.wait()
                        return
                    (server if end is client else client).sendall(said)


@contextmanager
def proxy(url: str) -> Iterator[Proxy]:
    """A proxy before the Postgres at `url`, which listens on a Unix socket."""
    parts = urlsplit(url)
    options = parse_qs(parts.query)
    path = f"{options['host'][0]}/.s.PGSQL.{options['port'][0]}"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{listener.getsockname()[1]}"
        between = Proxy(urlunsplit(parts._replace(netloc=address, query="sslmode=disable&gssencmode=disable")))
        serving = threading.Thread(target=between.serve, args=(listener, path))
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
