"""How the event log is looked at: batch sizes, places in it, who may still write into it."""

from datetime import datetime, timezone

import pytest

from analytics_pipeline.flows.usage_export.errors import NoSuchEvent
from analytics_pipeline.flows.usage_export.source import batch_size, blockers, first_id_since, last_id_before
from tests.flows.usage_export.event_log import add_event
from tests.product import Product

SIZES = {
    "null": 1_000,
    "{}": 1_000,
    '{"batchSize": null}': 1_000,
    '{"batchSize": "200"}': 1_000,
    '{"batchSize": true}': 1_000,
    '{"batchSize": 0}': 1_000,
    '{"batchSize": -5}': 1_000,
    '{"batchSize": 0.5}': 1_000,
    '{"batchSize": 200}': 200,
    '{"batchSize": 200.7}': 200,
    '{"batchSize": 1e9}': 100_000,
    "[1]": 1_000,
    '"text"': 1_000,
}


def test_batch_size__as_the_newest_settings_have_it__is_that_or_the_default(empty_product: Product) -> None:
    found = {}
    for number, section in enumerate(SIZES):
        empty_product.execute(
            "INSERT INTO application_settings (id, export_usage_telemetry) VALUES (%s, %s::jsonb)", number, section
        )
        found[section] = batch_size(empty_product.postgres)

    assert found == SIZES


def test_batch_size__no_settings_or_no_such_column__is_the_default(empty_product: Product) -> None:
    assert batch_size(empty_product.postgres) == 1_000
    empty_product.execute("ALTER TABLE application_settings DROP COLUMN export_usage_telemetry")
    empty_product.execute("INSERT INTO application_settings (id) VALUES (1)")

    assert batch_size(empty_product.postgres) == 1_000


def test_places__days_and_moments__are_ids(empty_product: Product) -> None:
    for day in (1, 2, 3):
        add_event(empty_product, timestamp=f"2026-05-0{day} 00:00Z")
    store, second = empty_product.postgres, datetime(2026, 5, 2, tzinfo=timezone.utc)

    assert (first_id_since(store, second), last_id_before(store, second)) == (2, 1)
    with pytest.raises(NoSuchEvent):
        first_id_since(store, datetime(2027, 1, 1, tzinfo=timezone.utc))
    with pytest.raises(NoSuchEvent):
        last_id_before(store, datetime(2026, 5, 1, tzinfo=timezone.utc))


def test_blockers__sessions_and_prepared_transactions_that_wrote__are_named_and_readers_are_not(
    empty_product: Product,
) -> None:
    store = empty_product.postgres
    with store.connect() as reader, store.connect() as writer, store.connect() as preparing:
        reader.execute("SELECT count(*) FROM event_logs")
        reader.execute("INSERT INTO application_settings (id) VALUES (1)")
        for one in (writer, preparing):
            one.execute("INSERT INTO event_logs (name, user_id, source, version) VALUES ('A', 1, 'WEB', '1')")
        ((pid,),) = writer.execute("SELECT pg_backend_pid()").fetchall()
        preparing.execute("PREPARE TRANSACTION 'forgotten'")
        found = blockers(store)
        writer.rollback()
    with store.open(autocommit=True) as ending:
        ending.execute("ROLLBACK PREPARED 'forgotten'")

    assert [(one.pid, "prepared forgotten" in one.name) for one in found] == [(pid, False), (None, True)]
