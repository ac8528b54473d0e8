"""One HTTP exchange seen from a worker thread: chDB's calls block, so a request has a thread of its own."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import CancelledError, Future
from typing import TypeVar

from starlette.types import Message, Receive, Scope, Send

from analytics_pipeline.embedded.clickhouse.errors import ClientGoneError

T = TypeVar("T")


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

    def body(self) -> Iterator[bytes]:
        """Yields the request body as it arrives; raises ClientGoneError when it never ends."""
        while not self._body_ended:
            chunk = self._wait(self._next_chunk())
            if chunk:
                yield chunk

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

    def _wait(self, work: Coroutine[object, object, T]) -> T:
        with self._lock:
            if self._gone:
                work.close()
                raise ClientGoneError
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
            self._pending = future  # type: ignore[assignment]
        try:
            return future.result()
        except CancelledError as error:
            raise ClientGoneError from error
        finally:
            self._pending = None
