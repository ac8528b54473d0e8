"""The client against a real HTTP server, in good weather: what is sent, when, and how it is counted."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast
from uuid import UUID

import pytest

from analytics_pipeline_sdk import AnalyticsClient, CustomEvent, Event, Problem, Settings, Stats
from analytics_pipeline_sdk.events import ApplicationError
from sdk_support.receiver import Receiver
from sdk_support.samples import FAST, USER, event

MakeClient = Callable[..., AnalyticsClient]
NO_DISK = replace(FAST, spool_bytes=0)


def test_track__some_events__arrive_once_in_order_with_what_the_envelope_says(
    receiver: Receiver, make: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOSTNAME", "web-1")
    client = make(token="secret", service="billing", environment="test")

    ids = [client.track(event(number)) for number in range(3)]

    assert client.flush(5)
    assert [one for seen in receiver.seen for one in seen.ids] == ids
    first = receiver.seen[0]
    assert {name: first.envelope[name] for name in ("attempt", "sdk", "hostname", "environment", "service")} == {
        "attempt": 1,
        "sdk": "python/0.1.0",
        "hostname": "web-1",
        "environment": "test",
        "service": "billing",
    }
    assert (first.headers["Authorization"], first.headers["X-Request-Id"]) == ("Bearer secret", first.request_id)
    assert receiver.stored[cast(str, ids[2])]["event"] == {
        "type": "task_started",
        "task_id": str(UUID(int=2)),
        "user_id": str(USER),
    }
    assert client.stats() == Stats(accepted=3, delivered=3)


def test_track__a_thousand_events__use_one_connection_and_full_batches(receiver: Receiver, make: MakeClient) -> None:
    client = make(settings=replace(FAST, flush_interval=60.0))

    for number in range(1_000):
        client.track(event(number))

    assert client.flush(10)
    assert len(receiver.stored) == 1_000
    assert max(len(seen.ids) for seen in receiver.seen) == 100
    assert len({seen.peer for seen in receiver.seen}) == 1


def test_track__less_than_a_batch__is_sent_after_the_interval(receiver: Receiver, make: MakeClient) -> None:
    client = make()

    client.track(event())

    assert _wait(lambda: client.stats() == Stats(accepted=1, delivered=1))


def test_track__large_events__batches_stay_below_their_bound(receiver: Receiver, make: MakeClient) -> None:
    client = make(settings=replace(FAST, batch_bytes=20_000))

    for number in range(40):
        client.track(CustomEvent("large", {"text": "x" * 3_000, "number": number}))

    assert client.flush(10)
    assert max(len(seen.ids) for seen in receiver.seen) == 5
    assert len(receiver.stored) == 40


def test_track__what_is_no_event__is_refused_by_reason_and_never_raises(make: MakeClient) -> None:
    client = make(before_send=lambda one: None if isinstance(one, ApplicationError) else one)
    too_large = CustomEvent("large", {"text": "x" * (1 << 20)})
    hidden = ApplicationError(service="a", error_type="b", error_message="c")
    wrong: tuple[Any, ...] = ("text", None, CustomEvent("odd", {"value": object()}), too_large, hidden)

    assert [client.track(one) for one in wrong] == [None] * 5
    client.close()
    assert client.track(event()) is None

    assert client.stats() == Stats(
        refused={"not_an_event": 2, "not_encodable": 1, "too_large": 1, "before_send": 1, "closed": 1}
    )
    assert client.stats().tracked == 6


def test_track_if__condition_false__tracks_nothing(receiver: Receiver, make: MakeClient) -> None:
    client = make()

    tracked = [client.track_if(condition, event()) for condition in (False, True)]

    assert client.flush(5)
    assert (tracked[0], [*receiver.stored]) == (None, tracked[1:])


def test_track__context_changed_afterwards__what_was_tracked_is_sent(receiver: Receiver, make: MakeClient) -> None:
    client, context = make(), {"step": "before"}

    identifier = client.track(ApplicationError(service="a", error_type="b", error_message="c", context=context))
    context["step"] = "after"

    assert client.flush(5)
    assert receiver.stored[cast(str, identifier)]["event"]["context"] == {"step": "before"}


def test_before_send__changes_an_event__the_change_is_sent(receiver: Receiver, make: MakeClient) -> None:
    client = make(before_send=lambda one: CustomEvent("changed", {}))

    identifier = client.track(event())

    assert client.flush(5)
    assert receiver.stored[cast(str, identifier)]["event"] == {"type": "custom", "name": "changed"}


def test_hooks__that_raise__are_counted_and_harm_nothing(receiver: Receiver, make: MakeClient) -> None:
    def before_send(one: Event) -> Event:
        if isinstance(one, CustomEvent):
            raise RuntimeError
        return one

    def on_error(problem: Problem) -> None:
        raise RuntimeError

    client = make(before_send=before_send, on_error=on_error)
    client.track(CustomEvent("secret", {}))
    client.track(event())

    assert client.flush(5)
    client.close()
    assert client.stats() == Stats(
        accepted=1, delivered=1, refused={"before_send_failed": 1}, hook_errors=client.stats().hook_errors
    )
    assert client.stats().hook_errors >= 1


def test_drop_newest__queue_full_and_no_disk__refuses_the_new(receiver: Receiver, make: MakeClient) -> None:
    receiver.then = "503"
    client = make(settings=replace(NO_DISK, queue_events=5, batch_events=1, batch_bytes=3_000, backoff_min=30.0))
    client.track(event())
    assert _wait(lambda: len(receiver.seen) == 1)

    ids = [client.track(event(number)) for number in range(7)]

    assert [one is not None for one in ids] == [True] * 5 + [False] * 2
    assert client.stats() == Stats(accepted=6, refused={"queue_full": 2}, pending=6)


def test_drop_oldest__queue_full_and_no_disk__drops_the_oldest(receiver: Receiver, make: MakeClient) -> None:
    receiver.then = "503"
    client = make(settings=replace(NO_DISK, queue_events=5, policy="drop_oldest", backoff_min=1.0, flush_interval=60.0))
    ids = [client.track(event(number)) for number in range(4)]
    assert not client.flush(0.3)

    ids += [client.track(event(number)) for number in range(8)]

    assert client.stats() == Stats(accepted=12, dropped={"queue_full": 3}, pending=9)
    receiver.then = "ok"
    assert client.flush(5)
    assert [*receiver.stored] == ids[:4] + ids[7:]


def test_block__queue_full_and_no_disk__waits_until_the_deadline(receiver: Receiver, make: MakeClient) -> None:
    settings = replace(NO_DISK, queue_events=5, policy="block", block_deadline=0.1, backoff_min=30.0)
    receiver.then = "503"
    client = make(settings=replace(settings, batch_events=1))
    client.track(event())
    assert _wait(lambda: len(receiver.seen) == 1)

    ids = [client.track(event(number)) for number in range(6)]

    assert [one is not None for one in ids] == [True] * 5 + [False]
    assert client.stats().refused == {"queue_full": 1}


def test_block__queue_full_and_server_takes_events__loses_nothing(receiver: Receiver, make: MakeClient) -> None:
    client = make(settings=replace(NO_DISK, queue_events=5, policy="block", block_deadline=5.0, flush_interval=60.0))

    ids = [client.track(event(number)) for number in range(40)]

    assert client.flush(5)
    assert [*receiver.stored] == ids


def test_memory__queue_full__goes_on_on_disk(receiver: Receiver, make: MakeClient) -> None:
    receiver.then = "503"
    client = make(settings=replace(FAST, queue_events=5, batch_events=1, backoff_min=30.0, backoff_max=30.0))
    client.track(event())
    assert _wait(lambda: len(receiver.seen) == 1)

    assert None not in [client.track(event(number)) for number in range(50)]

    stats = client.stats()
    assert (stats.accepted, stats.pending, stats.refused) == (51, 51, {})
    assert stats.pending_on_disk >= 45


@pytest.mark.parametrize(
    "arguments",
    [
        {"url": "ftp://host"},
        {"url": "https://user:password@host"},
        {"url": "nothing"},
        {"token": "with\nnewline"},
        {"durability": "paper"},
        {"durability": "disk", "settings": NO_DISK},
    ],
)
def test_client__arguments_that_make_no_sense__raise_without_secrets(
    arguments: dict[str, Any], make: MakeClient
) -> None:
    with pytest.raises(ValueError, match=r"must|consists|one of|needs") as raised:
        make(**arguments)

    assert "password" not in str(raised.value).replace("no password", "")
    assert "newline" not in str(raised.value)


@pytest.mark.parametrize(
    "values",
    [{"policy": "pray"}, {"fsync": "often"}, {"batch_events": 0}, {"batch_bytes": 2 << 20}, {"batch_bytes": 5}],
)
def test_settings__value_that_makes_no_sense__raises(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        Settings(**values)


def _wait(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()
