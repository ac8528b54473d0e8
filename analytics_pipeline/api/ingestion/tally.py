"""Verdicts on their way to the ledger: a worker counts in memory and adds what it has counted every few seconds."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping

from anyio import to_thread

from analytics_pipeline.flows.failures import reason_and_place

logger = logging.getLogger(__name__)

# A worker that is killed takes the counts of so long with it; no answer waits for them.
WRITE_SECONDS = 2.0


class Tally:
    """Counts of one event loop; `write` adds them to the ledger, in a thread."""

    def __init__(self, write: Callable[[Mapping[str, int]], None]) -> None:
        self._write = write
        self._counts: Counter[str] = Counter()
        self._lock = asyncio.Lock()
        self._writing = asyncio.create_task(self._often())

    def count(self, verdicts: Mapping[str, int]) -> None:
        """Count events by verdict."""
        self._counts.update(verdicts)

    async def close(self) -> None:
        """Write what was counted."""
        self._writing.cancel()
        await self._flush()

    async def _often(self) -> None:
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            # Cancelled half-way, counts would be neither here nor there.
            await asyncio.shield(self._flush())

    async def _flush(self) -> None:
        async with self._lock:
            taken, self._counts = self._counts, Counter()
            if not taken:
                return
            try:
                await to_thread.run_sync(self._write, taken)
            except Exception as error:  # noqa: BLE001 - counts wait; events do not wait for them
                self._counts.update(taken)
                logger.warning("verdicts were not counted yet: %s", reason_and_place(error))
