"""The answer to one request: headers as late as possible, compression, errors before and after the first byte."""

import json
import secrets
import string
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from starlette.types import Message

from analytics_pipeline.embedded.clickhouse.compression import Encoder, negotiate
from analytics_pipeline.embedded.clickhouse.errors import ClickHouseError
from analytics_pipeline.embedded.clickhouse.exchange import DRAIN_BYTES, Exchange
from analytics_pipeline.embedded.clickhouse.handle import Stats

_DISPLAY_NAME = b"chdb"
# Small answers go out at once, and an error that comes before this much is still a status.
_BUFFER_BYTES = 64 * 1024


@dataclass(frozen=True)
class ServerInfo:
    """Headers about the server that every answer has."""

    version: str
    timezone: str


class Reply:
    """Writes one answer."""

    def __init__(self, exchange: Exchange, info: ServerInfo) -> None:
        self.query_id = ""
        self._exchange = exchange
        self._info = info
        self._began = time.monotonic_ns()
        self._tag = "".join(secrets.choice(string.ascii_lowercase) for _ in range(16)).encode()
        self._outbox: list[Message] = []
        self._outbox_bytes = 0
        self._sent = False
        self._encoder: Encoder | None = None

    def succeed(self, fmt: str | None, stats: Stats, chunks: Iterable[bytes], accept_encoding: str = "") -> None:
        """Sends an answer, except for its end."""
        chosen = negotiate(accept_encoding)
        headers = {
            b"x-clickhouse-summary": self._summary(stats),
            b"x-clickhouse-exception-tag": self._tag,
        }
        if fmt:
            headers[b"x-clickhouse-format"] = fmt.encode()
        if chosen:
            headers[b"content-encoding"], self._encoder = chosen[0].encode(), chosen[1]
        self._start(200, headers)
        for chunk in chunks:
            self._write(chunk)

    def fail(self, error: ClickHouseError) -> None:
        """Sends an error, except for its end: as a status, or as ClickHouse's last block when the body has begun."""
        message = f"{error} (version {self._info.version} (official build))\n".encode("utf-8", "replace")
        if self._sent:
            head, tail = b"\r\n__exception__\r\n" + self._tag + b"\r\n", b" " + self._tag + b"\r\n__exception__\r\n"
            self._write(head + message + str(len(message)).encode() + tail)
        else:
            self._outbox, self._encoder = [], None
            self._drain()
            challenge = (
                {b"www-authenticate": b'Basic realm="ClickHouse server HTTP API"'} if error.status == 401 else {}
            )
            self._start(error.status, {b"x-clickhouse-exception-code": str(error.code).encode(), **challenge})
            self._write(message)

    def finish(self) -> None:
        """Ends the answer. The client may go on from here, so the request must have given up its session before."""
        tail = self._encoder.finish() if self._encoder else b""
        self._outbox.append({"type": "http.response.body", "body": tail, "more_body": False})
        self._flush()

    def _start(self, status: int, headers: dict[bytes, bytes]) -> None:
        common = {
            b"content-type": b"text/plain; charset=UTF-8",
            b"x-clickhouse-query-id": self.query_id.encode(),
            b"x-clickhouse-server-display-name": _DISPLAY_NAME,
            b"x-clickhouse-timezone": self._info.timezone.encode(),
        }
        # The rest of a request would be taken for the next one.
        ending = {} if self._exchange.is_whole else {b"connection": b"close"}
        pairs = list({**common, **headers, **ending}.items())
        self._outbox.append({"type": "http.response.start", "status": status, "headers": pairs})

    def _write(self, data: bytes) -> None:
        body = self._encoder.encode(data) if self._encoder else data
        self._outbox.append({"type": "http.response.body", "body": body, "more_body": True})
        self._outbox_bytes += len(body)
        if self._outbox_bytes > _BUFFER_BYTES:
            self._flush()

    def _flush(self) -> None:
        outbox, self._outbox, self._outbox_bytes = self._outbox, [], 0
        self._sent = True
        self._exchange.send(outbox)

    def _drain(self) -> None:
        received = 0
        for chunk in self._exchange.body():
            received += len(chunk)
            if received > DRAIN_BYTES:
                return

    def _summary(self, stats: Stats) -> bytes:
        counts = {**asdict(stats), "total_rows_to_read": stats.read_rows}
        counts["elapsed_ns"] = time.monotonic_ns() - self._began
        return json.dumps({name: str(count) for name, count in counts.items()}).encode()
