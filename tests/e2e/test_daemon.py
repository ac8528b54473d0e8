"""The pipeline under a real webserver and daemon: what an operator does in the UI, and what a crash must not break."""

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.e2e.dagster_server import DagsterServer, dagster_server, wait_for
from tests.product import KEY, Product, document, today

ALL = ("raw_identities", "identity_snapshots", "segment_counts")
# moto answers about a thousand identities a second: enough of them to be caught in the middle of a capture.
MANY = 1_500


@pytest.fixture
def server(product: Product, tmp_path: Path) -> Iterator[DagsterServer]:
    with dagster_server(dict(os.environ), tmp_path / "dagster.log") as running:
        yield running


def test_pipeline__operated_from_the_ui__materialises_backfills_and_survives_a_kill(
    product: Product, server: DagsterServer
) -> None:
    product.put(document("alice", plan="pro"), document("bob"))
    day = {"dagster/partition": today().isoformat()}

    first = server.materialise(ALL, tags=day)
    assert server.wait_for_run(first) == "SUCCESS"
    assert product.snapshot() == {(KEY, "alice"): {"plan": "pro"}, (KEY, "bob"): {}}
    assert product.current() == {(1, 100): (1, "counted")}

    _backfill_a_past_day(product, server)
    # The organisation's flag is on, so its history is asked for as well: nobody else shall work on the day.
    wait_for(lambda: _histories(product), lambda states: states == ["completed"], 150)
    _kill_a_run(product, server, day)


def _backfill_a_past_day(product: Product, server: DagsterServer) -> None:
    """Two days at once, as the backfill dialog asks for them: one run, and the uncaptured day says what it lacks."""
    yesterday = today() - timedelta(days=1)
    before = product.snapshot()

    backfill = server.backfill(["segment_counts"], [yesterday.isoformat(), today().isoformat()])
    status, runs = wait_for(lambda: server.backfill_status(backfill), lambda seen: seen[0].startswith("COMPLETED"), 150)

    assert (status, runs) == ("COMPLETED_SUCCESS", 1)
    assert product.history(yesterday) == {(1, 100): (None, "failed")}
    assert product.history() == {(1, 100): (1, "counted")}
    assert product.snapshot() == before


def _kill_a_run(product: Product, server: DagsterServer, day: dict[str, str]) -> None:
    """Killed in the middle of the capture: the old slice stays whole, and the next run brings the new one."""
    before = (product.snapshot(), product.current(), product.loads())
    product.put(*(document(f"user-{number:05d}", plan="pro") for number in range(MANY)))

    killed = server.materialise(ALL, tags=day)
    worker = server.worker_of(killed)
    wait_for(lambda: _is_capturing(product), bool, 60)
    worker.kill()

    assert server.wait_for_run(killed) == "FAILURE"
    assert (product.snapshot(), product.current(), product.loads()) == before

    repaired = server.materialise(ALL, tags=day)
    assert server.wait_for_run(repaired) == "SUCCESS"
    assert len(product.snapshot()) == MANY + 2
    assert product.current() == {(1, 100): (MANY + 1, "counted")}
    assert product.loads() == {KEY: ("completed", MANY + 2)}


def _histories(product: Product) -> list[str]:
    return [state for (state,) in product.execute("SELECT state FROM analytics_pipeline.enablements")]


def _is_capturing(product: Product) -> bool:
    return product.postgres.is_leased(f"identities:{today()}")
