"""Checks of the usage export: each finds what it is about, and passes when there is nothing to find."""

from datetime import datetime, timedelta, timezone

import pytest

from analytics_pipeline.config import Settings
from analytics_pipeline.flows.usage_export import audit
from analytics_pipeline.flows.usage_export.allow_list import remove
from analytics_pipeline.flows.usage_export.audit import (
    Ahead,
    Difference,
    Stretch,
    bookmarks_ahead,
    dead_letters,
    missing_in_clickhouse,
    stretches,
    waiting_too_long,
)
from analytics_pipeline.flows.usage_export.ledger import move
from analytics_pipeline.resources.sinks.base import Sink
from analytics_pipeline.resources.sinks.registry import open_sink
from tests.flows.usage_export.event_log import add_event, add_events, allow, begin, run
from tests.flows.usage_export.receivers import Receiver
from tests.product import Product

NOW = datetime(2026, 11, 27, 12, tzinfo=timezone.utc)


@pytest.fixture
def own(empty_product: Product, monkeypatch: pytest.MonkeyPatch) -> Sink:
    """The sink `own`: our ClickHouse."""
    monkeypatch.setenv("EXPORT_SINKS", "own=clickhouse:")
    settings = Settings.load()
    return open_sink(settings.sinks[0], settings)


def test_waiting__an_old_event_is_pending__is_found_unless_the_sink_is_paused(empty_product: Product) -> None:
    allow(empty_product, "ViewSearch")
    add_event(empty_product, "Secret", timestamp=NOW - timedelta(hours=5))
    add_event(empty_product, timestamp=NOW - timedelta(minutes=61))
    add_event(empty_product, timestamp=NOW)
    begin(empty_product, "behind", "paused")
    begin(empty_product, "up_to_date", after=3)
    empty_product.execute(
        "UPDATE analytics_pipeline.event_logs_scrape_state SET paused_at = now() WHERE sink = 'paused'"
    )

    found = waiting_too_long(empty_product.postgres, NOW)

    assert found.compared == 2
    assert [(one.sink, one.events, one.oldest_at) for one in found.found] == [
        ("behind", 2, NOW - timedelta(minutes=61))
    ]


def test_bookmarks__log_was_emptied__are_ahead(empty_product: Product) -> None:
    add_events(empty_product, 3)
    begin(empty_product, "receiver", after=3)
    assert bookmarks_ahead(empty_product.postgres).found == []

    empty_product.execute("TRUNCATE event_logs RESTART IDENTITY")
    add_event(empty_product)

    assert bookmarks_ahead(empty_product.postgres).found == [Ahead("receiver", 3, 1)]


def test_dead_letters__some_records_were_refused__are_counted_by_sink(empty_product: Product) -> None:
    allow(empty_product, "ViewSearch")
    add_events(empty_product, 3)
    begin(empty_product, "receiver")
    run(empty_product, Receiver(refused={1, 3}))

    assert dead_letters(empty_product.postgres).found == {"receiver": 2}


def test_clickhouse__as_sent__has_everything_and_a_lost_row_is_found(empty_product: Product, own: Sink) -> None:
    allow(empty_product, "ViewSearch", "Other")
    begin(empty_product, "own")
    add_event(empty_product, "Later")
    add_events(empty_product, 3)
    add_event(empty_product, "Other")
    add_event(empty_product, timestamp="infinity")
    run(empty_product, own)
    allow(empty_product, "Later")

    (stretch,) = stretches(empty_product.postgres, "own")
    found = missing_in_clickhouse(empty_product.postgres, empty_product.clickhouse, "own", stretch)
    assert (found.compared, found.found) == (4, [])
    empty_product.clickhouse.execute(
        "ALTER TABLE exported_events DELETE WHERE event_log_id = 3 SETTINGS mutations_sync = 2"
    )

    lost = missing_in_clickhouse(empty_product.postgres, empty_product.clickhouse, "own", stretch).found
    assert lost == [Difference("ViewSearch", 2, 6, 3, 2), Difference("all names", 2, 6, 4, 3)]


def test_clickhouse__a_name_was_removed_and_the_bookmark_moved_back__is_no_difference(
    empty_product: Product, own: Sink
) -> None:
    allow(empty_product, "ViewSearch", "Other")
    begin(empty_product, "own")
    for _ in range(2):
        add_events(empty_product, 2)
        add_event(empty_product, "Other")
        run(empty_product, own, batch=1)
        remove(empty_product.postgres, ["ViewSearch"])
    move(empty_product.postgres, "own", 0)
    run(empty_product, own)

    (stretch,) = stretches(empty_product.postgres, "own")
    found = missing_in_clickhouse(empty_product.postgres, empty_product.clickhouse, "own", stretch)

    assert (stretch, found.found) == (Stretch(1, 6, 4), [])


def test_stretches__more_records_than_one_has__cover_every_batch_and_late_ones(
    empty_product: Product, own: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "STRETCH", 2)
    allow(empty_product, "ViewSearch")
    begin(empty_product, "own")
    with empty_product.postgres.connect() as late:
        add_event(empty_product)
        late.execute("INSERT INTO event_logs (name, user_id, source, version) VALUES ('ViewSearch', 1, 'WEB', '1')")
        add_events(empty_product, 4)
        run(empty_product, own, batch=1)
        late.commit()
    run(empty_product, own)

    found = stretches(empty_product.postgres, "own")

    assert found == [Stretch(5, 6, 2), Stretch(3, 4, 2), Stretch(1, 1, 1)]


def test_check__no_sink_is_clickhouse__passes_and_says_so(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXPORT_SINKS", "disk=file:///tmp/never-written")

    (checked,) = empty_product.check(
        "usage_export", "clickhouse_holds_what_it_acknowledged"
    ).get_asset_check_evaluations()

    assert (checked.passed, checked.metadata["status"].value) == (True, "not asked for")


def test_check__clickhouse_has_got_records__says_how_much_of_all_was_compared(
    empty_product: Product, own: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "STRETCH", 2)
    allow(empty_product, "ViewSearch")
    begin(empty_product, "own")
    add_events(empty_product, 7)
    run(empty_product, own, batch=1)

    (checked,) = empty_product.check(
        "usage_export", "clickhouse_holds_what_it_acknowledged"
    ).get_asset_check_evaluations()

    assert checked.passed
    assert {name: value.value for name, value in checked.metadata.items() if name != "compared"} == {
        "found": 0,
        "records_in_all": 7,
        "stretches_in_all": 4,
    }
