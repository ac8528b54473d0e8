"""A web server of the simulation, to which records are posted: it takes them, refuses them, or loses its answer."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# In what follows it takes a batch: all but the first two and `refuses`, which takes what has no odd id.
MODES = ("takes", "is away", "is busy", "takes and fails", "takes and is cut off", "refuses")


class Receiver:
    """The records that arrived, in order, as they were."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.mode = MODES[0]
        self.records: list[dict[str, Any]] = []

    def forget(self) -> None:
        self.mode = MODES[0]
        self.records = []

    def status(self, records: list[dict[str, Any]]) -> int:
        """Take the records or not; the status of the answer, 0: none."""
        if self.mode == "refuses" and any(one["event_log_id"] % 2 for one in records):
            return 422
        if self.mode in ("is away", "is busy"):
            return 503 if self.mode == "is away" else 429
        self.records += records
        return {"takes and fails": 500, "takes and is cut off": 0}.get(self.mode, 204)


@contextmanager
def receiver() -> Iterator[Receiver]:
    """One at a port of its own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    receives = Receiver(f"http://127.0.0.1:{server.server_address[1]}/events")
    server.__dict__["receives"] = receives
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield receives
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = gzip.decompress(self.rfile.read(int(self.headers["Content-Length"])))
        receives: Receiver = self.server.__dict__["receives"]
        if status := receives.status([json.loads(line) for line in body.splitlines()]):
            self.send_response(status)
            self.end_headers()
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Nothing is told."""
