"""The ClickHouse sink on a real engine: each record once, what cannot be a row is refused alone, text stays text."""

import uuid
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from analytics_pipeline.config import Settings
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.sinks import clickhouse as module
from analytics_pipeline.resources.sinks.base import Delivery, Refusal, Sink, SinkRefused, SinkUnavailable
from analytics_pipeline.resources.sinks.clickhouse import COLUMNS, ClickHouseSink
from analytics_pipeline.resources.sinks.registry import open_sink
from tests.product import Product
from tests.resources.proxy import peer
from tests.resources.sinks.records import ASKS, START, batch, batch_of, record

SECRET = "S3CRET-of-a-sink"


@pytest.fixture
def sink(empty_product: Product, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sink]:
    monkeypatch.setenv("EXPORT_SINKS", "own=clickhouse:")
    settings = Settings.load()
    opened = open_sink(settings.sinks[0], settings, f"run-{uuid.uuid4().hex}")
    yield opened
    opened.close()


def _held(product: Product) -> list[tuple[int, str]]:
    """The records, as a reader sees them."""
    rows = product.clickhouse.query("SELECT event_log_id, name FROM exported_events FINAL ORDER BY event_log_id")
    return [(number, name) for number, name in rows]


def _names(first: int, last: int) -> list[tuple[int, str]]:
    return [(number, "SearchResultsQueried") for number in range(first, last + 1)]


def test_send__a_record__is_a_row_with_each_member_as_it_was(empty_product: Product, sink: Sink) -> None:
    sent = record(2**63, START.replace(microsecond=123456), user_id=2**31, insert_id="i", public_argument='{"a":"1"}')

    delivery = sink.send(batch_of([sent]))

    columns = ", ".join(COLUMNS)
    (row,) = empty_product.clickhouse.query_named(f"SELECT {columns} FROM exported_events")
    moment = START.replace(microsecond=123456)
    assert row == sent | {
        "record_id": uuid.UUID(sent["record_id"]),
        "timestamp": moment,
        "cohort_id": date(2026, 4, 27),
    }
    assert delivery.refused == ()
    assert 0 < delivery.sent_bytes < 1_000


def test_send__twice_and_overlapping__each_record_is_there_once(empty_product: Product, sink: Sink) -> None:
    sink.send(batch(1, 10, timedelta(minutes=1)))
    sink.send(batch(1, 10, timedelta(minutes=1)))
    sink.send(batch(1, 5, timedelta(minutes=1)))

    assert _held(empty_product) == _names(1, 10)


def test_send__records_of_hundreds_of_days__all_arrive_in_partitions_of_their_days(
    empty_product: Product, sink: Sink
) -> None:
    sink.send(batch(1, 250, timedelta(days=-1)))

    assert _held(empty_product) == _names(1, 250)
    days = [f"{START - timedelta(days=age):%Y%m%d}" for age in range(250)]
    assert empty_product.clickhouse.partitions("exported_events") == sorted(days)


def test_send__more_than_a_statement_takes__goes_in_several(
    empty_product: Product, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROWS_PER_STATEMENT", 4)

    sink.send(batch(1, 10))

    assert _held(empty_product) == _names(1, 10)


def test_send__dies_between_two_statements__sent_again_each_record_is_there_once(
    empty_product: Product, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROWS_PER_STATEMENT", 4)
    insert = ClickHouse.insert_stream
    calls = 0

    def dying(*args: Any, **options: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        insert(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(ClickHouse, "insert_stream", dying)
        with pytest.raises(KeyboardInterrupt):
            sink.send(batch(1, 10))
    assert _held(empty_product) == _names(1, 4)

    sink.send(batch(1, 10))

    assert _held(empty_product) == _names(1, 10)


def test_send__records_that_are_no_rows__are_refused_alone_without_their_values(
    empty_product: Product, sink: Sink
) -> None:
    bad: dict[int, dict[str, Any]] = {3: {"timestamp": SECRET}, 4: {"user_id": -1}, 9: {"cohort_id": SECRET}}
    records = [record(number, **bad.get(number, {})) for number in range(1, 11)]

    delivery = sink.send(batch_of(records))

    refused = [(one.event_log_id, one.reason) for one in delivery.refused]
    told = "ClickHouse cannot read it as a row of exported_events (error {})"
    assert refused == [(3, told.format(41)), (4, told.format(72)), (9, told.format(38))]
    assert [number for number, _ in _held(empty_product)] == [1, 2, 5, 6, 7, 8, 10]


def test_send__member_without_a_column__is_refused_rather_than_dropped(empty_product: Product, sink: Sink) -> None:
    delivery = sink.send(batch_of([record(1, argument=SECRET)]))

    reason = "ClickHouse cannot read it as a row of exported_events (error 117)"
    assert delivery == Delivery(0, (Refusal(1, reason),))
    assert _held(empty_product) == []


def test_send__synthetic__is_judged_and_leaves_nothing(empty_product: Product, sink: Sink) -> None:
    before = empty_product.tables()

    good = sink.send(batch_of([record(1)], is_synthetic=True))
    bad = sink.send(batch_of([record(1, timestamp="x")], is_synthetic=True))

    assert (good.refused, len(bad.refused)) == ((), 1)
    assert (_held(empty_product), empty_product.tables()) == ([], before)


def test_send__statement__carries_what_it_runs_for(empty_product: Product, sink: Sink) -> None:
    assert isinstance(sink, ClickHouseSink)
    sink.send(batch(1, 2))

    empty_product.clickhouse.execute("SYSTEM FLUSH LOGS")
    comments = empty_product.clickhouse.query(
        "SELECT DISTINCT log_comment FROM system.query_log"
        " WHERE query_kind = 'Insert' AND endsWith(log_comment, {run:String})",
        run=f"run_{sink.run_id}",
    )
    assert comments == [(f"analytics_pipeline:usage_export:send:run_{sink.run_id}",)]


def test_check__table_is_there__sends_nothing(empty_product: Product, sink: Sink) -> None:
    sink.check()

    assert _held(empty_product) == []


def test_check_and_send__table_is_missing__say_what_to_run(empty_product: Product, sink: Sink) -> None:
    empty_product.clickhouse.execute("DROP TABLE exported_events SYNC")

    with pytest.raises(SinkRefused, match=r"lacks .*Run: analytics-pipeline migrate pre$"):
        sink.check()
    for is_synthetic in (False, True):
        with pytest.raises(SinkRefused, match=r"is not as it should be\. Run: analytics-pipeline migrate pre$"):
            sink.send(batch_of([record(1)], is_synthetic=is_synthetic))


def test_send__server_is_in_trouble__is_unavailable_and_shows_no_record(
    empty_product: Product, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    for code, kind in [(252, SinkUnavailable), (159, SinkUnavailable), (241, SinkUnavailable), (497, SinkRefused)]:
        error = DatabaseError(f"Code: {code}. DB::Exception: {SECRET}")
        with monkeypatch.context() as patch:
            patch.setattr(ClickHouse, "insert_stream", lambda *_, error=error, **__: (_ for _ in ()).throw(error))
            with pytest.raises(kind) as failure:
                sink.send(batch(1, 2))
        assert f"ClickHouse error {code}" in str(failure.value)
        assert SECRET not in str(failure.value)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        (f"http://user:{SECRET}@127.0.0.1:1/analytics", SinkUnavailable),
        ("", SinkRefused),
    ],
)
def test_check_and_send__no_server__say_so_without_credentials(
    monkeypatch: pytest.MonkeyPatch, url: str, kind: type[Exception]
) -> None:
    monkeypatch.setenv("CLICKHOUSE_URL", url)
    monkeypatch.setenv("EXPORT_SINKS", "own=clickhouse:")
    settings = Settings.load()
    sink = open_sink(settings.sinks[0], settings)

    for ask in ASKS:
        with pytest.raises(kind, match=r"CLICKHOUSE_URL|ClickHouse") as failure:
            ask(sink)
        assert SECRET not in f"{failure.value!r} {failure.value.__context__!r}"


def test_send__server_is_no_clickhouse__is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with peer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno") as port:
        monkeypatch.setenv("CLICKHOUSE_URL", f"http://user:{SECRET}@127.0.0.1:{port}/analytics")
        monkeypatch.setenv("EXPORT_SINKS", "own=clickhouse:")
        settings = Settings.load()
        with pytest.raises((SinkRefused, SinkUnavailable)) as failure:
            open_sink(settings.sinks[0], settings).send(batch(1, 2))

    assert SECRET not in str(failure.value)


def test_exported_at__is_when_it_arrived(empty_product: Product, sink: Sink) -> None:
    before = datetime.now(timezone.utc) - timedelta(seconds=1)

    sink.send(batch(1, 1))

    assert (
        before
        <= empty_product.clickhouse.scalar("SELECT exported_at FROM exported_events")
        <= datetime.now(timezone.utc)
    )
