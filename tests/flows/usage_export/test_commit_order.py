"""Whatever order transactions commit in, every allowed event that was committed leaves, and nothing else does."""

import random
import threading
import time
from contextlib import closing

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics_pipeline.config import Settings
from analytics_pipeline.flows.usage_export import gaps
from analytics_pipeline.resources.sinks.base import Batch, Sink, SinkUnavailable
from analytics_pipeline.resources.sinks.registry import open_sink
from tests.flows.usage_export.event_log import add_event, add_events, allow, begin, bookmark, due_again, run
from tests.flows.usage_export.receivers import Between, Receiver
from tests.flows.usage_export.writers import ALLOWED, Truth, Writer, writers
from tests.product import Product


def _chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - a history that can be repeated


_EMPTY = """
    TRUNCATE event_logs RESTART IDENTITY;
    TRUNCATE analytics_pipeline.event_logs_scrape_state, analytics_pipeline.event_logs_gaps
"""


def _history(product: Product, chance: random.Random, steps: int) -> tuple[set[int], list[int], list[int]]:
    """Sessions do what they like while the export runs; the truth, and what two receivers got of it."""
    product.execute(_EMPTY)
    product.execute("ALTER SEQUENCE event_logs_id_seq CACHE 3")
    begin(product, "steady", "shaky")
    steady, shaky, truth = Receiver("steady"), Receiver("shaky"), Truth()

    def shake(_: Batch) -> None:
        if chance.random() < 0.3:
            raise SinkUnavailable("it shakes")

    shaky.trouble = shaky.afterwards = shake
    with writers(product.postgres.url, 4, truth) as sessions:
        for _ in range(steps):
            if chance.random() < 0.2:
                due_again(product)
                run(product, steady, shaky, batch=chance.choice([1, 3, 100]))
            else:
                chance.choice(chance.choice(sessions).steps)(chance)
        chance.shuffle(sessions)
        for one in sessions:
            one.end_all(chance)
    shaky.trouble = shaky.afterwards = lambda _: None
    due_again(product)
    run(product, steady, shaky)
    return truth.committed, steady.ids, shaky.ids


@settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_export__transactions_in_any_order__every_allowed_event_leaves_and_nothing_else(
    empty_product: Product, seed: int
) -> None:
    allow(empty_product, ALLOWED)

    committed, steady, shaky = _history(empty_product, _chance(seed), steps=60)

    assert sorted(steady) == sorted(committed)
    assert {*shaky} == committed


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_export__many_histories__every_allowed_event_leaves_and_nothing_else(empty_product: Product, seed: int) -> None:
    allow(empty_product, ALLOWED)

    committed, steady, shaky = _history(empty_product, _chance(seed), steps=100)

    assert sorted(steady) == sorted(committed)
    assert {*shaky} == committed


def _write(writer: Writer, seed: int, events: int) -> None:
    """One thread's transactions: short ones, some of them rolled back, and now and then a long one."""
    chance = _chance(seed)
    while events > 0:
        for _ in range(chance.choice([1, 1, 5, 40])):
            chance.choice([writer.insert, writer.insert, writer.forbidden, writer.draw])(chance)
            events -= 1
        if chance.random() < 0.02:
            time.sleep(0.5)
        chance.choice([writer.commit, writer.commit, writer.commit, writer.rollback])(chance)
    writer.commit(chance)


def _concurrently(product: Product, events: int, threads: int, *others: Sink) -> tuple[set[int], list[int]]:
    begin(product, "receiver", *(other.name for other in others))
    receiver, truths = Receiver(), [Truth() for _ in range(threads)]
    sessions = [Writer(psycopg.connect(product.postgres.url), truth) for truth in truths]
    workers = [
        threading.Thread(target=_write, args=(one, seed, events // threads)) for seed, one in enumerate(sessions)
    ]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        run(product, receiver, *others, batch=500)
    for one in sessions:
        one.connection.close()
    run(product, receiver, *others)
    return set[int]().union(*(truth.committed for truth in truths)), receiver.ids


def test_export__writers_at_work__every_committed_event_leaves_once(empty_product: Product) -> None:
    allow(empty_product, ALLOWED)

    committed, received = _concurrently(empty_product, 1_500, 4)

    assert sorted(received) == sorted(committed)


def test_export__clickhouse_acknowledges_and_the_answer_is_lost__holds_each_event_once(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXPORT_SINKS", "own=clickhouse:")
    settings = Settings.load()
    allow(empty_product, ALLOWED)
    add_events(empty_product, 60, ALLOWED)
    add_events(empty_product, 10, "Secret")
    begin(empty_product, "own")
    chance = _chance(1)

    def lost(_: Batch) -> None:
        if chance.random() < 0.5:
            raise SinkUnavailable("the answer is lost")

    with closing(open_sink(settings.sinks[0], settings)) as clickhouse:
        sink = Between("own", clickhouse, lost)
        while run(empty_product, sink, batch=10)[0].status == "failed":
            due_again(empty_product)

    held = "SELECT count(), uniqExact(record_id), min(event_log_id), max(event_log_id) FROM exported_events FINAL"
    assert empty_product.clickhouse.query(held) == [(60, 60, 1, 60)]
    assert bookmark(empty_product, "own") == 70


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_export__a_hundred_thousand_events_by_writers_at_work__each_leaves_once(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXPORT_SINKS", "own=clickhouse:")
    settings = Settings.load()
    allow(empty_product, ALLOWED)

    with closing(open_sink(settings.sinks[0], settings)) as own:
        committed, received = _concurrently(empty_product, 100_000, 8, own)

    assert sorted(received) == sorted(committed)
    held = empty_product.clickhouse.query("SELECT event_log_id FROM exported_events FINAL ORDER BY event_log_id")
    assert [event_id for (event_id,) in held] == sorted(committed)


def test_gaps__given_up__when_old_and_nobody_can_fill_them(empty_product: Product) -> None:
    allow(empty_product, ALLOWED)
    begin(empty_product, "receiver")
    for event_id in (5, 6, 9):
        add_event(empty_product, id=event_id)
    run(empty_product, Receiver())
    assert _gaps(empty_product) == [(1, 4), (7, 8)]

    empty_product.execute("UPDATE analytics_pipeline.event_logs_gaps SET passed_at = now() - interval '25 hours'")
    run(empty_product, Receiver())

    assert _gaps(empty_product) == []


def test_gaps__old_but_a_transaction_is_open_since__are_kept_and_then_filled(empty_product: Product) -> None:
    allow(empty_product, ALLOWED)
    begin(empty_product, "receiver")
    receiver = Receiver()
    with empty_product.postgres.connect() as late:
        late.execute("INSERT INTO event_logs (name, user_id, source, version) VALUES (%s, 1, 'WEB', '1')", [ALLOWED])
        add_event(empty_product)
        run(empty_product, receiver)
        _age(empty_product, "25 hours")
        run(empty_product, receiver)
        assert _gaps(empty_product) == [(1, 1)]
        late.commit()

    run(empty_product, receiver)

    assert receiver.ids == [2, 1]


def test_gaps__an_id_far_ahead__the_rest_leaves_all_the_same(empty_product: Product) -> None:
    allow(empty_product, ALLOWED)
    begin(empty_product, "receiver")
    receiver = Receiver()
    add_event(empty_product, id=2**62)
    run(empty_product, receiver)
    for _ in range(2):
        _age(empty_product, "25 hours")
        add_events(empty_product, 3)
        run(empty_product, receiver, batch=2)

    assert receiver.ids == [2**62, 1, 2, 3, 4, 5, 6]


def test_gaps__settled_and_no_longer_young__are_looked_at_when_their_age_has_doubled(empty_product: Product) -> None:
    add_event(empty_product, id=5)
    begin(empty_product, "receiver")
    run(empty_product, Receiver())
    run(empty_product, Receiver())
    looked = "UPDATE analytics_pipeline.event_logs_gaps SET passed_at = now() - %s::interval, looked_at = now() -"

    dues = []
    for passed, ago in (("9 minutes", "1 second"), ("40 minutes", "19 minutes"), ("40 minutes", "20 minutes")):
        empty_product.execute(f"{looked} %s::interval", passed, ago)
        with empty_product.postgres.ledgers.connect() as connection:
            dues.append(gaps.due(connection, "receiver", "1"))

    assert dues == ["{[1,5)}", "{}", "{[1,5)}"]


def _gaps(product: Product) -> list[tuple[int, int]]:
    rows = product.execute("SELECT first_id, last_id FROM analytics_pipeline.event_logs_gaps ORDER BY 1")
    return [(first, last) for first, last in rows]


def _age(product: Product, by: str) -> None:
    product.execute(
        "UPDATE analytics_pipeline.event_logs_gaps SET passed_at = passed_at - %s::interval,"
        " looked_at = looked_at - %s::interval",
        by,
        by,
    )
