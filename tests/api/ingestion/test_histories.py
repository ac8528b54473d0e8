"""Random histories of faults: stores that fail before or after they did what they were asked, senders that repeat.

Senders send again until they are told that an event is stored, to any worker, with other time stamps, several at once.
Then every event is stored exactly once, by its id.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from clickhouse_connect.driver.exceptions import OperationalError

from analytics_pipeline.api.ingestion import commits
from analytics_pipeline.flows.product_events import ids
from tests.api.ingestion.conftest import Worker
from tests.flows.product_events.samples import envelope, moment, new_id
from tests.product import Product

ATTEMPTS = 5
STORED = ("accepted", "duplicate")


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


async def history(chance: random.Random, faults: Faults, workers: list[Worker]) -> set[str]:
    """Events that their senders were told are stored: all of them, in the end."""
    open_ids = {new_id() for _ in range(chance.randint(1, 4))}
    told: set[str] = set()
    for attempt in range(ATTEMPTS):
        faults.share = chance.choice((0.2, 0.5)) if attempt < ATTEMPTS - 1 else 0.0
        bodies = [
            [envelope(id=one, timestamp=moment(days=chance.randrange(4))) for one in sorted(open_ids - told)]
            for _ in range(chance.randint(1, 3))
        ]
        sent = (chance.choice(workers).asked("POST", "/v1/events/batch", body) for body in bodies)
        for body, answer in zip(bodies, await asyncio.gather(*sent), strict=True):
            assert answer.status in (200, 503), answer
            verdicts = answer.verdicts if answer.status == 200 else []
            told |= {one["id"] for one, verdict in zip(body, verdicts, strict=False) if verdict in STORED}
    assert told == open_ids
    return told


def run(product: Product, faults: Faults, workers: list[Worker], histories: int) -> None:
    told: set[str] = set()
    for _ in range(histories):
        told |= workers[0].run(history(faults.chance, faults, workers))
    rows = product.clickhouse.query("SELECT toString(event_id), count() FROM analytics_events FINAL GROUP BY event_id")
    assert dict(rows) == dict.fromkeys(told, 1)


def test_histories__of_random_faults__end_with_every_event_stored_once(
    empty_product: Product, new_worker: Callable[..., Worker], faults: Faults
) -> None:
    run(empty_product, faults, [new_worker(), new_worker()], histories=15)


@pytest.mark.slow
def test_histories__a_thousand_of_random_faults__end_with_every_event_stored_once(
    empty_product: Product, new_worker: Callable[..., Worker], faults: Faults
) -> None:
    run(empty_product, faults, [new_worker(), new_worker()], histories=1_000)
