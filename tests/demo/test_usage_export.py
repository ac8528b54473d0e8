"""The demo's event log: what of it leaves, and that a transaction that ends late is not forgotten."""

from datetime import datetime, timezone
from pathlib import Path

from analytics_pipeline.demo.load import _insert_missing
from analytics_pipeline.demo.usage_export import (
    ALLOWED,
    EVENTS,
    LATE,
    SINKS,
    commit_late_events,
    export_environment,
    let_them_leave,
    log_events,
)
from tests.flows.usage_export.event_log import run
from tests.flows.usage_export.receivers import Receiver
from tests.product import Product

NOW = datetime(2026, 11, 27, 12, tzinfo=timezone.utc)


def test_demo__late_transaction_ends__all_that_may_leave_has_left_and_nothing_private(
    empty_product: Product,
) -> None:
    with empty_product.postgres.connect() as connection:
        _insert_missing(connection, "event_logs", log_events(NOW))
    let_them_leave(empty_product.postgres)
    let_them_leave(empty_product.postgres)
    own, disk = map(Receiver, SINKS)
    run(empty_product, own, disk)
    before = {*own.ids}

    assert commit_late_events(empty_product.postgres.url, NOW) == len(LATE)
    assert commit_late_events(empty_product.postgres.url, NOW) == 0
    run(empty_product, own, disk)

    allowed = empty_product.execute("SELECT id FROM event_logs WHERE name = ANY(%s) ORDER BY id", [*ALLOWED])
    assert sorted(own.ids) == sorted(disk.ids) == [event_id for (event_id,) in allowed]
    assert {*own.ids} - before <= {*LATE}
    assert before < {*own.ids} < {*range(1, EVENTS + 1)}
    assert "private" not in str([batch.lines for batch in own.batches])


def test_environment__of_the_demo__sends_to_this_machine_alone(tmp_path: Path) -> None:
    assert export_environment(tmp_path)["EXPORT_SINKS"] == f"own=clickhouse: disk={(tmp_path / 'exports').as_uri()}"
