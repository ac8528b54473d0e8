"""Totals of verdicts are in the ledger: they outlive workers, and workers that cannot write them yet keep them."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from analytics_pipeline.api.ingestion import tally
from analytics_pipeline.api.ingestion.tally import Tally
from analytics_pipeline.flows.product_events.ledger import answered
from tests.api.ingestion.conftest import Worker
from tests.flows.product_events.samples import envelope
from tests.product import Product


def totals(product: Product) -> dict[str, int]:
    return {one.verdict: one.events for one in answered(product.postgres)}


def test_totals__of_workers_that_ended__are_added_up(empty_product: Product, new_worker: Callable[..., Worker]) -> None:
    first = envelope()
    for events in ([first, "bad"], [first, envelope()]):
        worker = new_worker()
        worker.post(events)
        worker.run(worker.app.end())

    assert totals(empty_product) == {"accepted": 2, "duplicate": 1, "rejected": 1}


def test_totals__of_a_worker_that_goes_on__are_written_by_themselves(
    empty_product: Product, new_worker: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tally, "WRITE_SECONDS", 0.01)
    worker = new_worker()

    async def posted() -> None:
        await worker.asked("POST", "/v1/events/batch", [envelope()])
        while not totals(empty_product):
            await asyncio.sleep(0.01)

    worker.run(posted())

    assert totals(empty_product) == {"accepted": 1}


def test_totals__store_away__count_events_that_come_again(
    empty_product: Product, new_worker: Callable[..., Worker]
) -> None:
    away = type(empty_product.settings)(clickhouse_url="http://127.0.0.1:1/analytics")
    worker = new_worker(clickhouse_url=away.clickhouse_url)

    answer = worker.post([envelope(), envelope()])
    worker.run(worker.app.end())

    assert (answer.status, totals(empty_product)) == (503, {"retry": 2})


def test_tally__ledger_does_not_take_it__keeps_it(loop: Any) -> None:
    written: Counter[str] = Counter()
    refusals = iter([True, False])

    def write(counts: Any) -> None:
        if next(refusals):
            raise ConnectionError
        written.update(counts)

    async def counted() -> None:
        one = Tally(write)
        one.count({"accepted": 3})
        await one._flush()
        one.count({"accepted": 1, "retry": 2})
        await one.close()

    loop.run_until_complete(counted())

    assert written == {"accepted": 4, "retry": 2}
