"""One HTTP exchange seen from a worker thread: chDB's calls block, so a request has a thread of its own."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as NotInTime
from contextlib import suppress
from typing import TypeVar

from starlette.types import Message, Receive, Scope, Send

from analytics_pipeline.embedded.clickhouse.errors import SOCKET_TIMEOUT, ClientGoneError, clickhouse_error

T = TypeVar("T")

# The longest wait for the next piece of a body, and for the whole body of a request that is refused anyway.
CHUNK_SECONDS = 60.0
REFUSED_SECONDS = 5.0
# A client that sends rows reads the answer only after the last one: an error must wait until they are in.
DRAIN_BYTES = 1024 * 1024 * 1024


class Exchange:
    """Reads the body and writes the answer with blocking calls; the network's pace is the thread's pace."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._pending: Future[object] | None = None
        self._gone = False
        self._body_ended = False
        self._on_gone: Callable[[], None] | None = None
        self._watcher: asyncio.Task[None] | None = None

    @property
    def is_whole(self) -> bool:
        """Tells whether the client has sent all of its request."""
        return self._watcher is not None

    def body(self) -> Iterator[bytes]:
        """Yields the request body as it arrives; raises ClientGoneError when it never ends."""
        while not self._body_ended:
            chunk = self._wait(self._next_chunk(), CHUNK_SECONDS)
            if chunk:
                yield chunk

    async def discard_body(self) -> None:
        """Reads the body and forgets it, up to a limit of time and size; `body` yields nothing afterwards."""
        with suppress(asyncio.TimeoutError, ClientGoneError):
            await asyncio.wait_for(self._discard(), REFUSED_SECONDS)
        self._body_ended = True

    async def _discard(self) -> None:
        received = 0
        while not self._body_ended and received < DRAIN_BYTES:
            received += len(await self._next_chunk())

    def send(self, messages: Iterable[Message]) -> None:
        """Sends messages and waits until the client has taken most of what was sent before."""
        self._wait(self._send_all(messages))

    def when_gone(self, callback: Callable[[], None] | None) -> None:
        """Sets what stops the work for this request when its client leaves."""
        with self._lock:
            self._on_gone = callback
            gone = self._gone
        if gone:
            raise ClientGoneError

    def abort(self) -> None:
        """Wakes the thread with ClientGoneError wherever it waits for the network, and stops its query."""
        with self._lock:
            self._gone = True
            pending, callback = self._pending, self._on_gone
        if pending:
            pending.cancel()
        if callback:
            self._loop.run_in_executor(None, callback)

    def end(self) -> None:
        """Stops watching the connection."""
        if self._watcher:
            self._watcher.cancel()

    async def _next_chunk(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        if not message.get("more_body", False):
            self._body_ended = True
            self._watcher = asyncio.create_task(self._watch())
        return message.get("body", b"")  # type: ignore[no-any-return]

    async def _send_all(self, messages: Iterable[Message]) -> None:
        for message in messages:
            await self._send(message)

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.abort()

    def _wait(self, work: Coroutine[object, object, T], seconds: float | None = None) -> T:
        with self._lock:
            if self._gone:
                work.close()
                raise ClientGoneError
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
            self._pending = future  # type: ignore[assignment]
        try:
            return future.result(seconds)
        except CancelledError as error:
            raise ClientGoneError from error
        except NotInTime:
            future.cancel()
            self._body_ended = True
            message = f"Timeout exceeded while receiving data from client: nothing came for {seconds:g} s"
            raise clickhouse_error(SOCKET_TIMEOUT, message) from None
        finally:
            self._pending = None
