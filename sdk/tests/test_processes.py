"""Processes that end: exit, os._exit, kill -9."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from analytics_pipeline_sdk import AnalyticsClient, Stats
from sdk_support.receiver import Receiver
from sdk_support.waiting import wait_until

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

    assert wait_until(lambda: len(receiver.stored) == 1_001), (before, len(receiver.stored))
    assert wait_until(lambda: list(spool.glob("*")) == [])


def test_exit__endpoint_away__is_quick_and_the_next_process_sends_all(
    receiver: Receiver, make: MakeClient, spool: Path, python_path: dict[str, str]
) -> None:
    receiver.then = "503"
    _program(receiver, spool, "memory", "return", python_path)
    receiver.then = "ok"

    client = make()

    assert wait_until(lambda: client.stats() == Stats(recovered=1_001, delivered=1_001))
    assert len(receiver.stored) == 1_001


def test_exit__endpoint_that_is_silent__takes_no_longer_than_its_deadline_and_loses_nothing(
    receiver: Receiver, make: MakeClient, spool: Path, python_path: dict[str, str]
) -> None:
    receiver.then, receiver.silence = "silent", 60.0
    began = time.monotonic()

    _program(receiver, spool, "memory", "return", python_path)

    took, receiver.then = time.monotonic() - began, "ok"
    make()
    assert wait_until(lambda: len(receiver.stored) == 1_001)
    # Most of it is the interpreter's start on a busy machine.
    assert took < 40
