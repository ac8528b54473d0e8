"""The demo's services and ingestion as real processes: what they send is stored, each under its organisation."""

import os
import signal
import time
from pathlib import Path

import pytest

from analytics_pipeline.cli.local.event_services import events_beside
from analytics_pipeline.demo.services import BURST
from analytics_pipeline.embedded.stack import Stack
from tests.product import Product

_SECONDS = 60.0


@pytest.mark.slow
def test_services__beside_the_caller__are_stored_by_organisation_and_end_with_it(
    empty_product: Product, tmp_path: Path
) -> None:
    opened = Stack(tmp_path)
    opened.logs.mkdir(parents=True, exist_ok=True)
    for _ in range(2):
        with events_beside(opened, os.environ, "a-test") as sending:
            sending.require()
            began, stored = time.monotonic(), dict[tuple[int, str], int]()
            while len(stored) < 3 and time.monotonic() < began + _SECONDS:
                stored = _stored(empty_product)
        # Each service has closed its client; uvicorn ends by the signal once it has answered.
        assert [child.poll() for child in (*sending.services, sending.ingestion)] == [0, 0, 0, -signal.SIGTERM]
    stored = _stored(empty_product)
    assert set(stored) == {(1, "shop"), (1, "tasks"), (2, "hub")}
    # The second start made new tokens, and what the first one had not sent was not lost.
    assert all(count >= 2 * BURST for count in stored.values())


def _stored(product: Product) -> dict[tuple[int, str], int]:
    rows = product.clickhouse.query(
        "SELECT organisation_id, service, count() FROM analytics_events FINAL GROUP BY organisation_id, service"
    )
    return {(organisation, service): count for organisation, service, count in rows}
