"""A simulated world: a clock, a server with weather, and processes that track, die and come back, from one seed."""

import json
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from analytics_pipeline_sdk.accounting import Stats
from analytics_pipeline_sdk.delivery.backlog import Backlog
from analytics_pipeline_sdk.delivery.errors import Refused
from analytics_pipeline_sdk.delivery.intake import Intake
from analytics_pipeline_sdk.delivery.steps import Delivery
from analytics_pipeline_sdk.delivery.transport import Away, Outcome, Request, outcome
from analytics_pipeline_sdk.settings import Durability, Settings
from analytics_pipeline_sdk.spool.directory import Spool
from sdk_support.samples import event

Weather = Literal["fine", "down", "500", "429", "half", "moody", "deadly", "401"]
WEATHERS: tuple[Weather, ...] = ("fine", "fine", "down", "500", "429", "half", "moody", "deadly", "401")


def id_of(payload: bytes) -> str:
    """The id of an event as it is sent; much quicker than to read all of it."""
    return payload[len('{"id":"') :][:36].decode()


class Killed(BaseException):
    """The process dies while it sends."""


@dataclass
class World:
    """`stored` counts how often each id was stored; `rejected` ids never are, and `unreadable` ones spoil a batch."""

    chance: random.Random
    now: float = 0.0
    weather: Weather = "fine"
    stored: Counter[str] = field(default_factory=Counter)
    rejected: set[str] = field(default_factory=set)
    unreadable: set[str] = field(default_factory=set)
    too_early: int = 0

    def clock(self) -> float:
        return self.now

    def send(self, request: Request) -> Outcome:
        self.now += self.chance.uniform(0.001, 0.05)
        if self.weather == "down":
            return Away("ConnectTimeoutError")
        if self.weather in ("500", "401"):
            return outcome(int(self.weather), b"", None, request.request_id)
        if self.weather == "429":
            return outcome(429, b"", self.chance.choice((1.0, 5.0, 60.0)), request.request_id)
        ids = [id_of(payload) for payload in request.payloads]
        if self.unreadable & {*ids}:
            return outcome(self.chance.choice((400, 413, 422)), b"", None, request.request_id)
        return self._store(request.request_id, ids)

    def _store(self, request_id: str, ids: list[str]) -> Outcome:
        verdicts = [{"index": index, "verdict": self._verdict(one)} for index, one in enumerate(ids)]
        answer = json.dumps({"request_id": request_id, "verdicts": verdicts}).encode()
        if self.weather == "deadly" and self.chance.random() < 0.3:
            raise Killed
        return outcome(200, answer[: len(answer) // 2] if self.weather == "half" else answer, None, request_id)

    def _verdict(self, one: str) -> str:
        if one in self.rejected:
            return "rejected"
        if self.weather == "moody" and self.chance.random() < 0.3:
            return "retry"
        if one in self.stored:
            return "duplicate"
        self.stored[one] += 1
        return "accepted"


class Process:
    """A client without its thread: `run` is what the thread would do."""

    def __init__(self, world: World, directory: Path, durability: Durability, settings: Settings) -> None:
        self._world = world
        self.backlog = Backlog(settings, durability, Spool(directory, settings) if settings.spool_bytes else None)
        self.delivery = Delivery(self.backlog, self._send, settings, world.clock, world.chance)
        self._intake = Intake(settings.event_bytes, None)
        self.calls = 0
        self._not_before = 0.0

    def _send(self, request: Request) -> Outcome:
        self._world.too_early += self._world.now < self._not_before
        answer = self._world.send(request)
        if isinstance(answer, Away) and answer.retry_after is not None:
            self._not_before = self._world.now + answer.retry_after
        return answer

    def track(self) -> str | None:
        self.calls += 1
        identifier, payload = self._intake.make(event(self.calls))
        try:
            self.backlog.put(payload)
        except Refused as refused:
            self.backlog.refuse(refused.reason)
            return None
        return identifier

    def run(self, seconds: float) -> None:
        """Let the time pass; raises Killed if that is what happens."""
        until, steps = self._world.now + seconds, 0
        while self._world.now < until and steps < 2_000:
            steps += 1
            delay = self.delivery.step(flushing=False)
            self._world.now += min(max(delay, 0.0), max(0.0, until - self._world.now))

    def close(self) -> Stats:
        self.backlog.close()
        self.delivery.hurry()
        for _ in range(200):
            self.delivery.step(flushing=True)
            if self.delivery.away is not None or (self.delivery.is_idle and self.backlog.is_empty()):
                break
        self.backlog.retire()
        return self.backlog.stats()

    def kill(self) -> Stats:
        """Let the files go as they are, as the kernel does."""
        stats = self.backlog.stats()
        self.backlog.is_retired = True
        if self.backlog.spool is not None:
            self.backlog.spool.let_go()
        return stats
