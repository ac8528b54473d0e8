"""An id is stored once over the whole retention: whatever a repeat bears, whoever takes it, whatever died before."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from clickhouse_connect.driver.exceptions import OperationalError

from analytics_pipeline.api import tokens
from analytics_pipeline.flows.product_events import ids
from analytics_pipeline.flows.product_events.registry import Row
from tests.api.ingestion.conftest import Worker
from tests.flows.product_events.samples import batch, completed, envelope, moment, new_id
from tests.product import Product


def stored(product: Product) -> list[tuple[int, str]]:
    rows = product.clickhouse.query(
        "SELECT organisation_id, toString(event_id) FROM analytics_events FINAL ORDER BY organisation_id, event_id"
    )
    return [(organisation, identifier) for organisation, identifier in rows]


def days(product: Product) -> list[date]:
    return [day for (day,) in product.clickhouse.query("SELECT toDate(timestamp) FROM analytics_events FINAL")]


@pytest.mark.parametrize(
    "made", [new_id, lambda: "6ba7b811-9dad-41d1-80b4-00c04fd430c8"], ids=["version 7", "version 1"]
)
def test_repeat__with_another_time_stamp__is_a_duplicate(
    empty_product: Product, worker: Worker, made: Callable[[], str]
) -> None:
    identifier = made()
    events = [envelope(id=identifier, timestamp=moment(days=ago)) for ago in (3, 80, 0)]

    verdicts = [worker.post([event]).verdicts for event in events]

    assert verdicts == [["accepted"], ["duplicate"], ["duplicate"]]
    assert days(empty_product) == [datetime.now(timezone.utc).date() - timedelta(days=3)]


def test_repeat__of_another_type__is_a_duplicate(empty_product: Product, worker: Worker) -> None:
    first = envelope()

    worker.post([first])
    again = worker.post([{**envelope(completed()), "id": first["id"]}])

    assert again.verdicts == ["duplicate"]
    assert stored(empty_product) == [(1, first["id"])]


def test_repeat__within_a_request__is_a_duplicate_of_the_first(empty_product: Product, worker: Worker) -> None:
    first = envelope(timestamp=moment(days=1))

    answer = worker.post([first, {**first, "timestamp": moment(days=2)}, first])

    assert answer.verdicts == ["accepted", "duplicate", "duplicate"]
    assert days(empty_product) == [datetime.now(timezone.utc).date() - timedelta(days=1)]


def test_repeat__at_many_workers_at_once_with_time_stamps_of_their_own__is_accepted_once(
    empty_product: Product, new_worker: Callable[..., Worker]
) -> None:
    workers = [new_worker() for _ in range(3)]
    identifiers = [new_id() for _ in range(20)]

    async def all_at_once() -> list[Any]:
        bodies = [[envelope(id=one, timestamp=moment(days=day)) for one in identifiers] for day in range(6)]
        sent = zip(workers * 2, bodies, strict=True)
        return await asyncio.gather(*(worker.asked("POST", "/v1/events/batch", body) for worker, body in sent))

    answers = workers[0].run(all_at_once())

    verdicts = [verdict for answer in answers for verdict in answer.verdicts]
    assert (verdicts.count("accepted"), verdicts.count("duplicate")) == (20, 100)
    assert sorted(one for _, one in stored(empty_product)) == sorted(identifiers)


def test_repeat__at_two_workers_that_look_at_the_same_moment__is_accepted_once(
    empty_product: Product, new_worker: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither has taken the id when both have looked, unless one waits for the other."""
    both_looked, claims = threading.Barrier(2), ids.claims

    def looked(*arguments: Any) -> Any:
        found = claims(*arguments)
        with suppress(threading.BrokenBarrierError):
            both_looked.wait(1.0)
        return found

    monkeypatch.setattr(ids, "claims", looked)
    workers, identifier = [new_worker(), new_worker()], new_id()

    async def both() -> list[Any]:
        bodies = [[envelope(id=identifier, timestamp=moment(days=day))] for day in range(2)]
        sent = zip(workers, bodies, strict=True)
        return await asyncio.gather(*(worker.asked("POST", "/v1/events/batch", body) for worker, body in sent))

    answers = workers[0].run(both())

    assert sorted(answer.verdicts for answer in answers) == [["accepted"], ["duplicate"]]
    assert stored(empty_product) == [(1, identifier)]


def test_id__of_another_organisation__is_another_event(empty_product: Product, worker: Worker) -> None:
    event = envelope()
    other = tokens.create(empty_product.postgres, "other", "ingest", organisation_id=2).secret

    verdicts = [
        worker.post([event]).verdicts,
        worker.post([event], authorization=f"Bearer {other}").verdicts,
        worker.post([event]).verdicts,
    ]

    assert verdicts == [["accepted"], ["accepted"], ["duplicate"]]
    assert stored(empty_product) == [(1, event["id"]), (2, event["id"])]


@pytest.mark.parametrize("ago", [0, 5])
def test_crash__after_ids_were_taken__repeat_is_stored_under_the_time_of_the_first(
    empty_product: Product, new_worker: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch, ago: int
) -> None:
    """The worker dies between its two inserts: the id is taken, and its event is not there."""
    first = envelope(timestamp=moment(days=2))
    with monkeypatch.context() as patch:
        patch.setattr(ids, "insert", _away)
        died = new_worker().post([first])

    again = new_worker().post([{**first, "timestamp": moment(days=ago)}, envelope()])
    third = new_worker().post([first])

    assert (died.status, died.headers["retry-after"]) == (503, "2")
    assert (again.verdicts, third.verdicts) == (["accepted", "accepted"], ["duplicate"])
    assert sorted(days(empty_product)) == [
        datetime.now(timezone.utc).date() - timedelta(days=2),
        datetime.now(timezone.utc).date(),
    ]


def test_crash__after_ids_were_taken__event_of_another_type_does_not_get_the_id(
    empty_product: Product, new_worker: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = envelope()
    with monkeypatch.context() as patch:
        patch.setattr(ids, "insert", _away)
        new_worker().post([first])

    other = new_worker().post([{**envelope(completed()), "id": first["id"]}])
    again = new_worker().post([first])

    assert [(one["verdict"], one["field"]) for one in other.json["verdicts"]] == [("rejected", "id")]
    assert again.verdicts == ["accepted"]
    assert stored(empty_product) == [(1, first["id"])]


def test_crash__after_events_were_stored__repeat_is_a_duplicate(
    empty_product: Product, new_worker: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = envelope()
    insert = ids.insert

    def stored_unanswered(*arguments: Any) -> None:
        insert(*arguments)
        _away()

    with monkeypatch.context() as patch:
        patch.setattr(ids, "insert", stored_unanswered)
        died = new_worker().post([first])

    again = new_worker().post([{**first, "timestamp": moment(days=1)}])

    assert (died.status, again.verdicts) == (503, ["duplicate"])
    assert stored(empty_product) == [(1, first["id"])]


def test_claims__of_an_id_taken_twice_after_a_fault__are_asked_for_both(empty_product: Product, worker: Worker) -> None:
    """A claim whose insert was given up may appear after another worker took the id."""
    first = envelope(timestamp=moment(days=1))
    worker.post([first])
    late = Row(1, UUID(first["id"]), 1.0, 1.0, None, "api_request", None, "web", "", "", "")
    late.timestamp = late.received_at = datetime.now(timezone.utc).timestamp() - 600
    ids.take(empty_product.clickhouse, [late])

    again = worker.post([{**first, "timestamp": moment(days=2)}])

    assert again.verdicts == ["duplicate"]
    assert stored(empty_product) == [(1, first["id"])]


def test_row__that_clickhouse_cannot_hold__takes_no_other_with_it(
    empty_product: Product, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [envelope() for _ in range(7)]
    insert = ids.insert

    def broken(clickhouse: Any, rows: Any) -> None:
        """As ClickHouse does when it reads a value that does not fit."""
        for row in rows:
            if str(row.event_id) == events[3]["id"]:
                row.duration_ms = "no number"
        insert(clickhouse, rows)

    monkeypatch.setattr(ids, "insert", broken)

    answer = worker.post(batch(*events))

    assert answer.verdicts == ["accepted"] * 3 + ["rejected"] + ["accepted"] * 3
    assert len(stored(empty_product)) == 6
    ((payload,),) = empty_product.execute("SELECT payload FROM analytics_pipeline.dead_letters")
    assert events[3]["id"] in payload


def _away(*_: Any) -> None:
    raise OperationalError("Connection refused")
