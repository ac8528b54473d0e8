"""Processes that fork: multiprocessing, prefork, forks while threads track."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from analytics_pipeline_sdk import AnalyticsClient, Stats
from sdk_support.receiver import Receiver
from sdk_support.samples import event
from sdk_support.waiting import wait_until

MakeClient = Callable[..., AnalyticsClient]


@pytest.mark.parametrize("durability", ["memory", "disk"])
def test_fork__parent_has_pending_events__each_process_sends_its_own_once(
    durability: str, receiver: Receiver, make: MakeClient
) -> None:
    client = make(durability=durability)
    ids = [client.track(event(number)) for number in range(150)]

    child = os.fork()
    if child == 0:
        _in_child(client)
    ids += [client.track(event(number)) for number in range(150)]
    _, status = os.waitpid(child, 0)

    assert client.flush(10)
    assert status == 0
    assert len(receiver.stored) == 350
    assert {*ids} <= {*receiver.stored}
    assert client.stats() == Stats(accepted=300, delivered=300)


def _in_child(client: AnalyticsClient) -> None:
    code = 1
    try:
        for number in range(50):
            client.track(event(number))
        flushed = client.flush(10)
        code = 0 if flushed and client.stats() == Stats(accepted=50, delivered=50) else 2
    finally:
        os._exit(code)


def test_fork__client_closed_before__is_closed_in_the_child(make: MakeClient) -> None:
    client = make()
    client.close()

    child = os.fork()
    if child == 0:
        try:
            refused = client.track(event()) is None and client.stats().refused == {"closed": 1}
        finally:
            os._exit(0 if refused else 1)

    assert os.waitpid(child, 0)[1] == 0


def test_fork__other_threads_track_meanwhile__no_child_hangs(receiver: Receiver, make: MakeClient) -> None:
    client, done = make(durability="disk"), threading.Event()

    def track() -> None:
        while not done.is_set():
            client.track(event())

    threads = [threading.Thread(target=track) for _ in range(2)]
    for thread in threads:
        thread.start()
    statuses = []
    for _ in range(10):
        child = os.fork()
        if child == 0:
            os._exit(0 if client.track(event()) is not None else 1)
        statuses.append(os.waitpid(child, 0)[1])
    done.set()
    for thread in threads:
        thread.join()

    assert statuses == [0] * 10
    assert client.stats().is_balanced


def test_fork__another_thread_is_in_the_middle__waits_for_it(make: MakeClient) -> None:
    client, inside, out = make(), threading.Event(), threading.Event()

    def hold() -> None:
        with client._backlog.hold:
            inside.set()
            time.sleep(0.2)
            out.set()

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait()
    child = os.fork()
    if child == 0:
        os._exit(0)
    was_out = out.is_set()
    thread.join()
    os.waitpid(child, 0)

    assert was_out


def test_fork__parent_killed_while_its_child_lives__a_later_client_takes_its_events(
    receiver: Receiver, make: MakeClient, spool: Path
) -> None:
    receiver.then = "503"
    waiting, done = os.pipe()
    parent = os.fork()
    if parent == 0:
        os.close(done)
        client = AnalyticsClient(receiver.url, durability="disk", spool=spool)
        client.track(event())
        if os.fork() == 0:
            os.read(waiting, 1)
            os._exit(0)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(parent, 0)
    receiver.then = "ok"

    make()

    try:
        assert wait_until(lambda: len(receiver.stored) == 1)
    finally:
        os.close(done)
        os.close(waiting)


def test_multiprocessing__child_that_just_returns__sends_its_events(receiver: Receiver, make: MakeClient) -> None:
    client = make()
    process = multiprocessing.get_context("fork").Process(target=client.track, args=(event(),))

    process.start()
    process.join(20)

    assert (process.exitcode, len(receiver.stored)) == (0, 1)


def test_prefork__several_workers_share_a_directory_and_are_killed__nothing_is_lost(
    receiver: Receiver, make: MakeClient, spool: Path
) -> None:
    receiver.then = "503"
    client = make(durability="disk")
    client.track(event())
    children = [_worker(client) for _ in range(3)]
    for child in children:
        os.waitpid(child, 0)

    receiver.then = "ok"
    client.flush(10)
    make()

    assert wait_until(lambda: len(receiver.stored) == 301)
    assert wait_until(lambda: len(list(spool.glob("*"))) <= 1)


def _worker(client: AnalyticsClient) -> int:
    child = os.fork()
    if child == 0:
        for number in range(100):
            client.track(event(number))
        os.kill(os.getpid(), signal.SIGKILL)
    return child
