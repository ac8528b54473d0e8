"""Group commit: requests that wait at the same time are stored together, and each is answered after that."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeAlias

from analytics_pipeline.api.ingestion.answers import Refusal, away
from analytics_pipeline.flows.product_events.errors import StoreAway
from analytics_pipeline.flows.product_events.ingestion import Submission

# A commit gathers for so long, or until it has so many rows.
GATHER_SECONDS = 0.05
MOST_ROWS = 10_000
# More are not waited for: the sender comes again.
MOST_WAITING = 40_000
# While one is stored, the next takes its ids.
COMMITS_AT_ONCE = 2
# After a store was away, nothing is tried for so long.
AWAY_SECONDS = 2
_Waiting: TypeAlias = tuple[Submission, "asyncio.Future[None]"]


class GroupCommit:
    """Takes submissions of one event loop and gives them to `commit`, in threads."""

    def __init__(self, commit: Callable[[Sequence[Submission]], None]) -> None:
        self._commit = commit
        self._threads = ThreadPoolExecutor(COMMITS_AT_ONCE, "commit")
        self._free = asyncio.Semaphore(COMMITS_AT_ONCE)
        self._waiting: list[_Waiting] = []
        self._rows = 0
        self._arrived = asyncio.Event()
        self._full = asyncio.Event()
        self._away_until = 0.0
        self._is_closed = False
        self._running: set[asyncio.Task[None]] = set()
        self._gathering = asyncio.create_task(self._gather())

    @property
    def rows_waiting(self) -> int:
        return self._rows

    async def submit(self, submission: Submission) -> None:
        """Wait until the submission has been committed.

        Raises:
            Refusal: too much is waiting, or a store is away; nothing of it was acknowledged.
        """
        if self._is_closed or time.monotonic() < self._away_until:
            raise away("nothing is taken at this moment", AWAY_SECONDS)
        if self._rows + len(submission.entries) > MOST_WAITING:
            raise Refusal(429, "too many events are waiting to be stored", {"Retry-After": "1"})
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((submission, done))
        self._rows += len(submission.entries)
        self._arrived.set()
        if self._rows >= MOST_ROWS:
            self._full.set()
        try:
            await done
        except StoreAway:
            raise away("a store is away", AWAY_SECONDS) from None

    async def close(self) -> None:
        """End when everything that waits has been committed."""
        self._is_closed = True
        self._gathering.cancel()
        while self._waiting:
            await self._run(self._taken())
        await asyncio.gather(*self._running)
        self._threads.shutdown()

    async def _gather(self) -> None:
        while True:
            await self._arrived.wait()
            await self._free.acquire()
            self._free.release()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._full.wait(), GATHER_SECONDS)
            await self._free.acquire()
            task = asyncio.create_task(self._run_and_free(self._taken()))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    def _taken(self) -> list[_Waiting]:
        """The first that wait, whole requests, up to the size of a commit."""
        taken: list[_Waiting] = []
        rows = 0
        while self._waiting and rows < MOST_ROWS:
            taken.append(self._waiting.pop(0))
            rows += len(taken[-1][0].entries)
        if not self._waiting:
            self._arrived.clear()
        left = sum(len(one.entries) for one, _ in self._waiting)
        if left < MOST_ROWS:
            self._full.clear()
        return taken

    async def _run_and_free(self, taken: Sequence[_Waiting]) -> None:
        try:
            await self._run(taken)
        finally:
            self._free.release()

    async def _run(self, taken: Sequence[_Waiting]) -> None:
        loop = asyncio.get_running_loop()
        error: BaseException | None = None
        try:
            await loop.run_in_executor(self._threads, self._commit, [one for one, _ in taken])
        except Exception as raised:  # noqa: BLE001 - whatever it is, whoever waits is told
            error = raised
            if isinstance(raised, StoreAway):
                self._away_until = time.monotonic() + AWAY_SECONDS
        for submission, done in taken:
            self._rows -= len(submission.entries)
            if done.cancelled():
                continue
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)
