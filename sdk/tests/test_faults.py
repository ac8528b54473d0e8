"""The client against a real HTTP server that fails in every way: what is sent again, what is not, how it is counted."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import pytest

from analytics_pipeline_sdk import AnalyticsClient, Problem, Stats
from analytics_pipeline_sdk.delivery.transport import retry_after
from analytics_pipeline_sdk.settings import Durability
from sdk_support.receiver import Fault, Receiver
from sdk_support.samples import FAST, event

MakeClient = Callable[..., AnalyticsClient]
# A batch of all events of a test, and no other.
ONE_BATCH = replace(FAST, flush_interval=60.0)


@pytest.mark.parametrize("durability", ["memory", "disk"])
@pytest.mark.parametrize("fault", ["500", "503", "429", "401", "307", "close", "silent"])
def test_fault__nothing_stored__the_same_batch_is_sent_again(
    fault: Fault, durability: Durability, receiver: Receiver, make: MakeClient
) -> None:
    receiver.faults, receiver.silence = deque([fault, fault]), 0.05
    client = make(settings=ONE_BATCH, durability=durability)

    ids = [client.track(event(number)) for number in range(5)]

    assert client.flush(10)
    assert [*receiver.stored] == ids
    assert [(seen.ids, seen.attempt) for seen in receiver.seen] == [(ids, 1), (ids, 2), (ids, 3)]
    assert len({seen.request_id for seen in receiver.seen}) == 1
    assert client.stats() == Stats(accepted=5, delivered=5)


@pytest.mark.parametrize("durability", ["memory", "disk"])
@pytest.mark.parametrize("fault", ["half", "cut", "garbage", "other"])
def test_fault__stored_and_not_acknowledged__ends_as_duplicate(
    fault: Fault, durability: Durability, receiver: Receiver, make: MakeClient
) -> None:
    receiver.faults = deque([fault])
    client = make(settings=ONE_BATCH, durability=durability)

    ids = [client.track(event(number)) for number in range(5)]

    assert client.flush(10)
    assert [*receiver.stored] == ids
    assert client.stats() == Stats(accepted=5, duplicate=5)


@pytest.mark.parametrize("fault", ["silent", "drip"])
def test_request_timeout__answer_that_does_not_come_or_drips__is_given_up(
    fault: Fault, receiver: Receiver, make: MakeClient
) -> None:
    receiver.faults, receiver.silence = deque([fault]), 60.0
    client = make(settings=replace(ONE_BATCH, request_timeout=0.2))
    client.track(event())

    began = time.monotonic()

    assert client.flush(30)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("after", ["1", "date"])
def test_retry_after__of_a_429__is_obeyed_by_flush_as_well(after: str, receiver: Receiver, make: MakeClient) -> None:
    receiver.faults = deque(["429"])
    receiver.retry_after = formatdate(time.time() + 2, usegmt=True) if after == "date" else after
    client = make(settings=ONE_BATCH)
    client.track(event())

    began = time.monotonic()

    assert not client.flush(0.3)
    assert client.flush(10)
    assert time.monotonic() - began > 0.8
    assert len(receiver.seen) == 2


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(None, None), ("3", 3.0), ("0.5", 0.5), ("-1", 0.0), ("soon", None), ("nan", None), ("99999999", 3_600.0)],
)
def test_retry_after__every_form__is_seconds(value: str | None, seconds: float | None) -> None:
    assert retry_after(value) == seconds


@pytest.mark.parametrize("durability", ["memory", "disk"])
def test_outage__server_restarts__nothing_is_lost_and_disk_is_empty_again(durability: Durability, spool: Path) -> None:
    receiver, ids = Receiver(), list[str | None]()
    with receiver.running():
        client = AnalyticsClient(
            receiver.url, durability=durability, spool=spool, settings=replace(FAST, queue_events=50)
        )
        ids += [client.track(event(number)) for number in range(150)]
        assert client.flush(10)
    ids += [client.track(event(number)) for number in range(1_000)]
    assert not client.flush(0.3)
    assert client.stats().pending == 1_000
    with receiver.running():
        ids += [client.track(event(number)) for number in range(150)]
        assert client.close(20)

    assert [*receiver.stored] == [*dict.fromkeys(receiver.stored)]
    assert {*receiver.stored} == {*ids}
    assert client.stats() == Stats(accepted=1_300, delivered=1_300)
    assert list(spool.glob("*")) == []


def test_memory__endpoint_away__all_but_the_batch_in_hand_goes_to_disk(receiver: Receiver, make: MakeClient) -> None:
    receiver.then = "503"
    client = make(settings=replace(FAST, backoff_min=0.01))
    for number in range(500):
        client.track(event(number))

    deadline = time.monotonic() + 10
    while client.stats().pending_on_disk < 400 and time.monotonic() < deadline:
        time.sleep(0.01)

    assert (client.stats().pending, client.stats().pending_on_disk) == (500, 400)


@pytest.mark.parametrize("durability", ["memory", "disk"])
def test_close__endpoint_away__is_quick_and_leaves_events_to_the_next_client(
    durability: Durability, spool: Path, receiver: Receiver
) -> None:
    receiver.then = "503"
    first = AnalyticsClient(receiver.url, durability=durability, spool=spool, settings=FAST)
    ids = [first.track(event(number)) for number in range(250)]

    began = time.monotonic()
    assert not first.close(60)
    assert time.monotonic() - began < 30
    assert first.stats() == Stats(accepted=250, pending=250, pending_on_disk=250)
    receiver.then = "ok"
    second = AnalyticsClient(receiver.url, spool=spool, settings=FAST)

    deadline = time.monotonic() + 10
    while len(receiver.stored) < 250 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert second.close(5)
    assert {*receiver.stored} == {*ids}
    assert second.stats() == Stats(recovered=250, delivered=250)
    assert list(spool.glob("*")) == []


def test_close__no_disk_and_endpoint_away__counts_what_is_lost(receiver: Receiver, make: MakeClient) -> None:
    receiver.then = "503"
    client = make(settings=replace(FAST, spool_bytes=0))
    client.track(event())

    assert not client.close(0.2)

    assert client.stats() == Stats(accepted=1, dropped={"not_spooled": 1})


def test_on_error__outage_rejection_and_loss__is_told_once_each(receiver: Receiver, make: MakeClient) -> None:
    told: list[Problem] = []
    receiver.faults = deque(["503", "503"])
    receiver.judge = lambda one: {"verdict": "rejected", "reason": "too_old"}
    client = make(settings=ONE_BATCH, on_error=told.append)
    client.track(event())

    assert client.flush(10)
    client.close()
    client.track(event())
    client.close()

    assert told == [Problem("away", "http_503", 1), Problem("rejected", "too_old", 1), Problem("refused", "closed", 1)]
