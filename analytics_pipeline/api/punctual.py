"""HTTP over connections to servers of ours, where a request has to be there within a time, also one in drops."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# From the first byte of a request, or from the connection on, to the end of its body.
REQUEST_SECONDS = 40.0
# Of a request's first line and headers, which uvicorn keeps in memory however long they are.
LARGEST_HEAD = 64 * 1024


class PunctualProtocol(HttpToolsProtocol):
    """Ends a connection whose request does not end; between requests uvicorn's own time of keeping alive counts.

    uvicorn's implementation in Python limits headers itself, and takes five times as long for a request.
    """

    _late: asyncio.TimerHandle | None = None
    # Bytes that have come since the last ones that were a body, or since a request was whole.
    _head = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        self._expect()
        self._head += len(data)
        super().data_received(data)
        if self._head > LARGEST_HEAD and not self.transport.is_closing():
            self.send_400_response("The headers are too long.")

    def on_body(self, body: bytes) -> None:
        self._head = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._head = 0
        self._relax()
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._relax()
        super().connection_lost(exc)

    def _expect(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    def _relax(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
