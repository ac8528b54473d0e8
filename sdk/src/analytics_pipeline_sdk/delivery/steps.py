"""Delivery step by step: which batch is due, what its answer means, how long to wait. It knows no thread."""

import math
import random
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from analytics_pipeline_sdk.delivery.backlog import Backlog
from analytics_pipeline_sdk.delivery.items import Item
from analytics_pipeline_sdk.delivery.transport import Answered, Away, Outcome, Request
from analytics_pipeline_sdk.identifiers import uuid7
from analytics_pipeline_sdk.settings import Settings

# Batches with events that the server wants again, beside which new ones are sent.
_MOST_HELD = 8
_SYNC_SECONDS = 1.0


@dataclass(eq=False)
class Outgoing:
    """A batch on its way: its id stays, its attempts are counted, and it is not sent before `due`."""

    items: list[Item]
    request_id: str
    attempt: int = 1
    due: float = -math.inf


class Delivery:
    """Used by one thread, but for `hurry`. `away` is why the last attempt of a whole batch failed, if it did."""

    def __init__(
        self,
        backlog: Backlog,
        send: Callable[[Request], Outcome],
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
        chance: random.Random | None = None,
    ) -> None:
        self.away: str | None = None
        self._backlog = backlog
        self._send = send
        self._settings = settings
        self._clock = clock
        self._chance = chance or random.Random()  # noqa: S311 - jitter
        self._held: list[Outgoing] = []
        self._failures = 0
        self._resume_at = self._adopt_at = -math.inf
        self._told_to_wait = self._hurried = False
        self._flush_at = clock() + settings.flush_interval
        self._sync_at = clock() + _SYNC_SECONDS if settings.fsync == "interval" else math.inf

    def hurry(self) -> None:
        """Try again at once, unless the server said when; any thread may ask for it."""
        self._hurried = True

    def step(self, *, flushing: bool) -> float:
        """Send one batch if one is due; returns the seconds until there is something to do again, 0 for now.

        While `flushing`, batches that are not full are sent as well.
        """
        now = self._clock()
        self._keep_house(now)
        if now < self._resume_at:
            return min(self._resume_at, self._sync_at) - now
        outgoing = self._next(now, flushing)
        if outgoing is None:
            return max(0.0, self._next_event() - now)
        payloads = [item.payload for item in outgoing.items]
        self._apply(outgoing, self._send(Request(outgoing.request_id, outgoing.attempt, payloads)))
        return 0.0

    def _next_event(self) -> float:
        moments = [self._sync_at, *(held.due for held in self._held)]
        return min(moments if self._is_full else [self._flush_at, *moments])

    @property
    def _is_full(self) -> bool:
        return len(self._held) >= _MOST_HELD

    @property
    def is_waiting(self) -> bool:
        """Whether nothing may be sent for the time being, however much there is."""
        return self._clock() < self._resume_at

    @property
    def is_idle(self) -> bool:
        """Whether nothing is held back for another attempt."""
        return not self._held

    def _keep_house(self, now: float) -> None:
        if self._hurried:
            self._hurried = False
            self._resume_at = self._resume_at if self._told_to_wait else -math.inf
            for held in self._held:
                held.due = -math.inf
        if self.away is not None:
            self._backlog.spill()
        elif now >= self._adopt_at and not self._backlog.is_ripe():
            found = self._backlog.adopt()
            self._adopt_at = now if found else now + self._settings.flush_interval
        if now >= self._sync_at:
            self._sync_at = now + _SYNC_SECONDS
            self._backlog.sync()

    def _next(self, now: float, flushing: bool) -> Outgoing | None:
        due = min(self._held, key=lambda held: held.due, default=None)
        if due is not None and due.due <= now:
            self._held.remove(due)
            return due
        if self._is_full:
            return None
        if now >= self._flush_at:
            self._flush_at = now + self._settings.flush_interval
        elif not (flushing or self._backlog.is_ripe()):
            return None
        items = self._backlog.take()
        return Outgoing(items, uuid7(time.time_ns())) if items else None

    def _apply(self, outgoing: Outgoing, outcome: Outcome) -> None:
        self._told_to_wait = False
        if isinstance(outcome, Away):
            self._hold(outgoing, outcome)
            return
        self.away, self._failures = None, 0
        if isinstance(outcome, Answered):
            self._settle(outgoing, outcome)
        elif len(outgoing.items) == 1:
            self._backlog.settle(outgoing.items, "rejected", outcome.reason)
        else:
            middle = len(outgoing.items) // 2
            for half in (outgoing.items[:middle], outgoing.items[middle:]):
                self._held.insert(0, Outgoing(half, uuid7(time.time_ns())))

    def _hold(self, outgoing: Outgoing, away: Away) -> None:
        """Keep the batch, and wait before the next attempt of any; meanwhile the queue goes to disk."""
        self.away = away.reason
        self._failures += 1
        outgoing.attempt += 1
        self._held.insert(0, outgoing)
        self._wait(away.retry_after, self._failures)

    def _wait(self, told: float | None, failures: int) -> None:
        self._told_to_wait = told is not None
        self._resume_at = self._clock() + (self._backoff(failures) if told is None else told)

    def _backoff(self, failures: int) -> float:
        """Seconds that double with each failure, chosen at random so that clients do not come back all at once."""
        least, most = self._settings.backoff_min, self._settings.backoff_max
        return self._chance.uniform(least, max(least, min(most, least * 2.0 ** min(failures, 60))))

    def _settle(self, outgoing: Outgoing, answer: Answered) -> None:
        """Settle what the server is done with; the rest is sent again under the same request id."""
        settled: defaultdict[tuple[str, str], list[Item]] = defaultdict(list)
        again: list[Item] = []
        for index, item in enumerate(outgoing.items):
            verdict = answer.verdicts.get(index)
            if verdict is None or verdict.verdict == "retry":
                again.append(item)
            else:
                settled[verdict.verdict, verdict.reason or "unknown"].append(item)
        for (name, reason), items in settled.items():
            self._backlog.settle(items, name, reason)
        if again:
            outgoing.items, outgoing.attempt = again, outgoing.attempt + 1
            outgoing.due = self._clock() + self._backoff(outgoing.attempt - 1)
            self._held.append(outgoing)
        if answer.retry_after is not None:
            self._wait(answer.retry_after, 0)
