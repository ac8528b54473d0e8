"""Random histories of faults: stores that fail before or after they did what they were asked, senders that repeat.

Senders send again until they are told that an event is stored, to any worker, with other time stamps, several at once;
some of them share commits. Then every event is stored exactly once, by its id.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import pytest
from clickhouse_connect.driver.exceptions import OperationalError

from analytics_pipeline.api.ingestion import commits
from analytics_pipeline.flows.product_events import ids
from tests.api.ingestion.conftest import Answer, Worker
from tests.flows.product_events.samples import envelope, moment, new_id
from tests.product import Product

ATTEMPTS = 5
AT_ONCE = 4
STORED = ("accepted", "duplicate")
Sent: TypeAlias = list[dict[str, Any]]


@dataclass
class Faults:
    """What ClickHouse is asked fails with this chance, half of the times after it has been done."""

    chance: random.Random
    share: float = 0.0

    def around(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def faulty(*arguments: Any) -> Any:
            fails, is_done = self.chance.random() < self.share, self.chance.random() < 0.5
            if fails and not is_done:
                raise OperationalError("Connection refused")
            answer = work(*arguments)
            if fails:
                raise OperationalError("Connection aborted")
            return answer

        return faulty


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    seed = random.randrange(1 << 32)  # noqa: S311 - no secret
    print("seed", seed)  # noqa: T201 - for who repeats it
    faults = Faults(random.Random(seed))  # noqa: S311 - no secret
    for name in ("claims", "take", "stored", "insert"):
        monkeypatch.setattr(ids, name, faults.around(getattr(ids, name)))
    monkeypatch.setattr(commits, "AWAY_SECONDS", 0)
    monkeypatch.setattr(commits, "GATHER_SECONDS", 0.001)
    return faults


@dataclass
class History:
    """Events of one sender, which it sends until it is told that all of them are stored."""

    chance: random.Random
    open_ids: set[str] = field(init=False)
    told: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.open_ids = {new_id() for _ in range(self.chance.randint(1, 4))}

    def requests(self) -> list[Sent]:
        """What it sends at once: all that it was not told of, each time with other time stamps."""
        left = sorted(self.open_ids - self.told)
        times = self.chance.randint(1, 3) if left else 0
        return [
            [envelope(id=one, timestamp=moment(days=self.chance.randrange(4))) for one in left] for _ in range(times)
        ]

    def read(self, body: Sent, answer: Answer) -> None:
        assert answer.status in (200, 503), answer
        verdicts = answer.verdicts if answer.status == 200 else []
        self.told |= {one["id"] for one, verdict in zip(body, verdicts, strict=False) if verdict in STORED}


async def play(histories: Sequence[History], faults: Faults, workers: list[Worker]) -> None:
    """Histories of one time: their requests meet in the same commits, and the same faults."""
    for attempt in range(ATTEMPTS):
        faults.share = faults.chance.choice((0.2, 0.5)) if attempt < ATTEMPTS - 1 else 0.0
        requests = [(one, body) for one in histories for body in one.requests()]
        sent = (faults.chance.choice(workers).asked("POST", "/v1/events/batch", body) for _, body in requests)
        for (one, body), answer in zip(requests, await asyncio.gather(*sent), strict=True):
            one.read(body, answer)


def run(product: Product, faults: Faults, workers: list[Worker], histories: int) -> None:
    played = [History(faults.chance) for _ in range(histories)]
    for start in range(0, histories, AT_ONCE):
        workers[0].run(play(played[start : start + AT_ONCE], faults, workers))
    assert [one for one in played if one.told != one.open_ids] == []
    rows = product.clickhouse.query("SELECT toString(event_id), count() FROM analytics_events FINAL GROUP BY event_id")
    assert dict(rows) == dict.fromkeys(set().union(*(one.told for one in played)), 1)


def test_histories__of_random_faults__end_with_every_event_stored_once(
    empty_product: Product, new_worker: Callable[..., Worker], faults: Faults
) -> None:
    run(empty_product, faults, [new_worker(), new_worker()], histories=5 * AT_ONCE)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_histories__a_thousand_of_random_faults__end_with_every_event_stored_once(
    empty_product: Product, new_worker: Callable[..., Worker], faults: Faults
) -> None:
    run(empty_product, faults, [new_worker(), new_worker()], histories=1_000)
