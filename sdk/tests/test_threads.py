"""Threads and signal handlers that track at the same time."""

import signal
import threading
from collections.abc import Callable

import pytest

from analytics_pipeline_sdk import AnalyticsClient, Stats
from sdk_support.receiver import Receiver
from sdk_support.samples import event

MakeClient = Callable[..., AnalyticsClient]


@pytest.mark.parametrize("durability", ["memory", "disk"])
def test_threads__track_at_once__every_event_is_counted_and_stored(
    durability: str, receiver: Receiver, make: MakeClient
) -> None:
    client, ids = make(durability=durability), list[str | None]()
    threads = [
        threading.Thread(target=lambda: ids.extend([client.track(event(number)) for number in range(300)]))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert client.stats().is_balanced
    for thread in threads:
        thread.join()

    assert client.flush(20)
    assert {*receiver.stored} == {*ids}
    assert client.stats() == Stats(accepted=1_200, delivered=1_200)


def test_track__inside_of_track__is_refused_and_counted(make: MakeClient) -> None:
    client = make()

    with client._backlog.hold:
        inside = client.track(event()), client.stats().refused

    assert inside == (None, {"reentrant": 1})
    assert client.stats() == Stats(refused={"reentrant": 1})


def test_signal__handler_that_tracks_while_track_runs__neither_hangs_nor_loses_count(make: MakeClient) -> None:
    client, calls = make(), [0]

    def handler(*_: object) -> None:
        calls[0] += 1
        client.track(event())

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    try:
        for _ in range(10_000):
            client.track(event())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    assert calls[0] > 10
    assert client.stats().is_balanced
    assert client.stats().tracked == 10_000 + calls[0]
