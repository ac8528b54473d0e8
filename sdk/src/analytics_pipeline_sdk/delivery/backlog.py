"""Everything that was accepted and is not settled: in the queue, on disk, or in the hands of the sender."""

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Sequence

from analytics_pipeline_sdk.accounting import Ledger, Stats
from analytics_pipeline_sdk.delivery.errors import Refused
from analytics_pipeline_sdk.delivery.hold import Hold
from analytics_pipeline_sdk.delivery.items import Item, on_disk
from analytics_pipeline_sdk.settings import Durability, Settings
from analytics_pipeline_sdk.spool.directory import Spool
from analytics_pipeline_sdk.spool.errors import SpoolFull

_SPILL_EVENTS = 100


class Backlog:
    """Safe between threads. With durability `memory` the spool takes what the queue cannot, with `disk` everything.

    `wake` is set when there is a batch to send.
    """

    def __init__(self, settings: Settings, durability: Durability, spool: Spool | None) -> None:
        self.ledger = Ledger()
        self.spool = spool
        self.hold = Hold()
        self.wake = threading.Event()
        self.is_closed = self.is_retired = False
        self._settings = settings
        # A queue that is smaller than a batch is sent when it is full.
        self._full_events = min(settings.batch_events, settings.queue_events)
        self._full_bytes = min(settings.batch_bytes, settings.queue_bytes // 2)
        self._queues = durability == "memory"
        self._queue: deque[bytes] = deque()
        self._queue_bytes = 0
        self._in_hand: set[Item] = set()
        self._waiting = 0

    def put(self, payload: bytes) -> None:
        """Accept the event, or raise Refused with the reason."""
        with self.hold as is_nested:
            if is_nested:
                raise Refused("reentrant")
            if self.is_closed:
                raise Refused("closed")
            reason = self._place(payload)
            if reason is not None:
                self._make_room(payload, reason)
            self.ledger.accepted += 1
            if not self.wake.is_set() and self._is_ripe():
                self.wake.set()

    def refuse(self, reason: str) -> None:
        """Count an event that was not accepted."""
        with self.hold as is_nested:
            if is_nested:
                self.ledger.reentrant += 1
            else:
                self.ledger.refused[reason] += 1

    def _place(self, payload: bytes) -> str | None:
        """Keep the event; returns why that is not possible, if so."""
        settings, size = self._settings, self._queue_bytes + len(payload)
        if self._queues and len(self._queue) < settings.queue_events and size <= settings.queue_bytes:
            self._queue.append(payload)
            self._queue_bytes = size
            return None
        return self._write([payload])

    def _write(self, payloads: Sequence[bytes]) -> str | None:
        """Write to the spool; returns why that is not possible, if so."""
        if self.spool is None:
            return "queue_full"
        try:
            self.spool.append(payloads)
        except SpoolFull:
            return "queue_full" if self._queues else "spool_full"
        except OSError:
            return "spool_failed"
        return None

    def _make_room(self, payload: bytes, reason: str) -> None:
        """Do what the policy says about an event that found no place; raises Refused if it finds none."""
        policy = self._settings.policy
        deadline = time.monotonic() + self._settings.block_deadline
        while policy == "drop_oldest" and self._drop_oldest(reason):
            if self._place(payload) is None:
                return
        while policy == "block" and self._wait(deadline):
            if self.is_closed:
                raise Refused("closed")
            if self._place(payload) is None:
                return
        raise Refused(reason)

    def _drop_oldest(self, reason: str) -> bool:
        dropped = 0
        if self._queue:
            self._queue_bytes -= len(self._queue.popleft())
            dropped = 1
        elif self.spool is not None:
            with contextlib.suppress(OSError):
                dropped = self.spool.drop_oldest()
        self.ledger.settle("dropped", reason, dropped)
        return dropped > 0

    def _wait(self, deadline: float) -> bool:
        """Let others change something; false when the time is up."""
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        self.wake.set()
        self._waiting += 1
        try:
            return self.hold.wait(left)
        finally:
            self._waiting -= 1

    def _is_ripe(self) -> bool:
        unsent = len(self._queue) + (self.spool.unread if self.spool else 0)
        return unsent >= self._full_events or self._queue_bytes >= self._full_bytes

    def is_ripe(self) -> bool:
        """Whether there is a full batch to send."""
        with self.hold:
            return self._is_ripe()

    def is_empty(self) -> bool:
        """Whether everything was handed out."""
        with self.hold:
            return not self._queue and not (self.spool and self.spool.unread)

    def take(self) -> list[Item]:
        """Hand out the next batch, what is on disk first; the sender settles each of its items once."""
        left, room = self._settings.batch_events, self._settings.event_bytes
        with self.hold:
            items: list[Item] = []
            if self.is_retired:
                return items
            if self.spool is not None and self.spool.unread:
                items = [Item.on_disk(*found) for found in self.spool.take(left, room)]
            room -= sum(len(item.payload) + 1 for item in items)
            while self._queue and len(items) < left and (not items or len(self._queue[0]) < room):
                payload = self._queue.popleft()
                self._queue_bytes -= len(payload)
                room -= len(payload) + 1
                items.append(Item(payload))
            self._in_hand.update(items)
            if self._waiting:
                self.hold.notify_all()
            return items

    def settle(self, items: Sequence[Item], verdict: str, reason: str = "") -> None:
        """Count the items as `accepted`, `duplicate` or `rejected`, and forget them."""
        with self.hold:
            if self.is_retired:
                return
            self._in_hand.difference_update(items)
            if self.spool is not None:
                for segment, records in on_disk(items).items():
                    self.spool.settle(segment, records)
            self.ledger.settle(verdict, reason, len(items))
            if self._waiting:
                self.hold.notify_all()

    def spill(self) -> None:
        """Move the queue to disk, as far as there is room; the caller of track() waits for a part of it at most."""
        while self._queue and self.spool is not None:
            with self.hold:
                some = [self._queue.popleft() for _ in range(min(_SPILL_EVENTS, len(self._queue)))]
                if self.is_retired or self._write(some) is not None:
                    self._queue.extendleft(reversed(some))
                    return
                self._queue_bytes -= sum(map(len, some))
                if self._waiting:
                    self.hold.notify_all()

    def adopt(self) -> int:
        """Take over a segment that another process left; returns how many events came with it."""
        with self.hold:
            if self.spool is None or self.is_retired:
                return 0
            with contextlib.suppress(OSError):
                found = self.spool.adopt()
                self.ledger.recovered += found
                return found
            return 0

    def sync(self) -> None:
        """Bring what was written to the disk itself, without holding up track()."""
        with self.hold:
            file = None if self.spool is None or self.is_retired else self.spool.unsynced()
        if file is not None:
            try:
                with contextlib.suppress(OSError):
                    os.fsync(file)
            finally:
                os.close(file)

    def wait_until_settled(self, timeout: float) -> bool:
        """Wait until everything accepted so far is settled; false if that took too long or the client was closed."""
        with self.hold:
            target, deadline = self.ledger.accepted + self.ledger.recovered, time.monotonic() + timeout
            while self.ledger.settled < target and not self.is_retired and self._wait(deadline):
                pass
            return self.ledger.settled >= target

    def close(self) -> None:
        """Accept nothing more."""
        with self.hold:
            self.is_closed = True
            self.hold.notify_all()
        self.wake.set()

    def retire(self) -> None:
        """Bring what is not settled to disk for a later process, or count it as dropped. Then nothing is settled."""
        with self.hold:
            if self.is_retired:
                return
            self.is_closed = self.is_retired = True
            left = [item.payload for item in self._in_hand if item.segment is None] + [*self._queue]
            self._queue.clear()
            self._in_hand.clear()
            for start in range(0, len(left), _SPILL_EVENTS):
                some = left[start : start + _SPILL_EVENTS]
                if self._write(some) is not None:
                    self.ledger.settle("dropped", "not_spooled", len(some))
            if self.spool is not None:
                self.spool.close()
            self.hold.notify_all()

    def stats(self) -> Stats:
        spool = self.spool
        with self.hold:
            spooled, torn, corrupt = (spool.pending, spool.torn, spool.corrupt) if spool else (0, 0, 0)
            in_memory = len(self._queue) + sum(item.segment is None for item in self._in_hand)
            return self.ledger.stats(in_memory + spooled, spooled, torn, corrupt)
