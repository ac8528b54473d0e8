"""The ends of processes and their forks: exit, os._exit, kill -9, multiprocessing, prefork, threads, signals."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from analytics_pipeline_sdk import AnalyticsClient, Stats
from sdk_support.receiver import Receiver
from sdk_support.samples import event

MakeClient = Callable[..., AnalyticsClient]
PROGRAM = """
import gc, os, signal, sys
from sdk_support.samples import event
from analytics_pipeline_sdk import AnalyticsClient, Settings
url, spool, durability, end = sys.argv[1:]
client = AnalyticsClient(url, spool=spool, durability=durability)
for number in range(1_001):
    client.track(event(number))
if end == "_exit":
    os._exit(0)
if end == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
if end == "error":
    raise SystemExit(3)
if end == "dropped":
    del client
    gc.collect()
"""


def _program(receiver: Receiver, spool: Path, durability: str, end: str, environment: dict[str, str]) -> int:
    arguments = [sys.executable, "-c", PROGRAM, receiver.url, str(spool), durability, end]
    return subprocess.run(arguments, env=environment, timeout=60, check=False).returncode


@pytest.mark.parametrize("durability", ["memory", "disk"])
@pytest.mark.parametrize("end", ["return", "error", "dropped"])
def test_exit__right_after_tracking__loses_nothing(
    end: str, durability: str, receiver: Receiver, spool: Path, python_path: dict[str, str]
) -> None:
    code = _program(receiver, spool, durability, end, python_path)

    assert (code, len(receiver.stored)) == (3 if end == "error" else 0, 1_001)


@pytest.mark.parametrize("end", ["_exit", "kill"])
def test_disk__process_ends_past_everything__a_later_client_sends_all(
    end: str, receiver: Receiver, make: MakeClient, spool: Path, python_path: dict[str, str]
) -> None:
    assert _program(receiver, spool, "disk", end, python_path) in (0, -signal.SIGKILL)
    before = len(receiver.stored)

    make()

    assert _wait(lambda: len(receiver.stored) == 1_001), (before, len(receiver.stored))
    assert _wait(lambda: list(spool.glob("*")) == [])


def test_exit__endpoint_away__is_quick_and_the_next_process_sends_all(
    receiver: Receiver, make: MakeClient, spool: Path, python_path: dict[str, str]
) -> None:
    receiver.then = "503"
    _program(receiver, spool, "memory", "return", python_path)
    receiver.then = "ok"

    client = make()

    assert _wait(lambda: client.stats() == Stats(recovered=1_001, delivered=1_001))
    assert len(receiver.stored) == 1_001


def test_exit__endpoint_that_is_silent__takes_no_longer_than_its_deadline_and_loses_nothing(
    receiver: Receiver, make: MakeClient, spool: Path, python_path: dict[str, str]
) -> None:
    receiver.then, receiver.silence = "silent", 20.0
    began = time.monotonic()

    _program(receiver, spool, "memory", "return", python_path)

    took, receiver.then = time.monotonic() - began, "ok"
    make()
    assert _wait(lambda: len(receiver.stored) == 1_001)
    # Half of it is the interpreter's start on a busy machine.
    assert took < 10


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
        assert _wait(lambda: len(receiver.stored) == 1)
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

    assert _wait(lambda: len(receiver.stored) == 301)
    assert _wait(lambda: len(list(spool.glob("*"))) <= 1)


def _worker(client: AnalyticsClient) -> int:
    child = os.fork()
    if child == 0:
        for number in range(100):
            client.track(event(number))
        os.kill(os.getpid(), signal.SIGKILL)
    return child


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


def _wait(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 15
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()
