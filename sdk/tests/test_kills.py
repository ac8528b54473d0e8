"""Disk mode, killed at every line: an event that track() accepted is stored, or found by the next process."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import pytest

from analytics_pipeline_sdk import Settings
from analytics_pipeline_sdk.delivery.backlog import Backlog
from analytics_pipeline_sdk.delivery.errors import Refused
from analytics_pipeline_sdk.delivery.intake import Intake
from analytics_pipeline_sdk.delivery.steps import Delivery
from analytics_pipeline_sdk.delivery.transport import Away, Outcome, Request, outcome
from analytics_pipeline_sdk.protocol import Verdict
from analytics_pipeline_sdk.spool.directory import Spool
from sdk_support.samples import event
from sdk_support.world import id_of

# Segments of some events, so that a history rotates, settles, adopts and removes.
SMALL = Settings(batch_events=4, spool_bytes=1 << 20, segment_bytes=600)
OURS = ("/backlog.py", "/steps.py", "/items.py", "/spool/segment.py", "/spool/directory.py", "/spool/records.py")
EVENTS = 12
End = Callable[[], object]


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _leave() -> None:
    os._exit(1)


def _history(directory: Path, say: Callable[[str], object]) -> None:
    """Track, send, fail, send again, close; each fact is said when it is one."""
    attempts = 0

    def send(request: Request) -> Outcome:
        nonlocal attempts
        attempts += 1
        if attempts == 2:
            return Away("http_503")
        for payload in request.payloads:
            say(f"stored {id_of(payload)}")
        return _accepted(request)

    backlog = Backlog(SMALL, "disk", Spool(directory, SMALL))
    delivery, intake = Delivery(backlog, send, SMALL, clock=lambda: 0.0), Intake(SMALL.event_bytes, None)
    for number in range(EVENTS):
        identifier, payload = intake.make(event(number))
        try:
            backlog.put(payload)
            say(f"accepted {identifier}")
        except Refused as refused:
            backlog.refuse(refused.reason)
        if number % 3 == 2:
            delivery.hurry()
            delivery.step(flushing=True)
    backlog.close()
    backlog.retire()


def _accepted(request: Request) -> Outcome:
    verdicts = [Verdict(index, "accepted") for index in range(len(request.payloads))]
    answer = msgspec.json.encode({"request_id": request.request_id, "verdicts": verdicts})
    return outcome(200, answer, None, request.request_id)


def _run_until(line: int, directory: Path, end: End) -> tuple[bool, set[str], set[str]]:
    """Run the history in a process that ends at its n-th line; whether it did, what was accepted, what was stored."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _in_child(line, directory, end, writing)
    os.close(writing)
    with os.fdopen(reading) as said:
        facts = [fact.split() for fact in said.read().splitlines()]
    _, status = os.waitpid(child, 0)
    accepted = {one for kind, one in facts if kind == "accepted"}
    return status != 0, accepted, {one for kind, one in facts if kind == "stored"}


def _in_child(line: int, directory: Path, end: End, writing: int) -> None:
    lines = 0

    def trace(frame: FrameType, what: str, _: Any) -> Any:
        nonlocal lines
        if not frame.f_code.co_filename.endswith(OURS):
            return None
        if what == "line":
            lines += 1
            if lines == line:
                end()
        return trace

    try:
        sys.settrace(trace)
        _history(directory, lambda fact: os.write(writing, f"{fact}\n".encode()))
        os._exit(0)
    finally:
        os._exit(2)


def _left(directory: Path) -> set[str]:
    """The events that a later process finds."""
    backlog = Backlog(SMALL, "disk", Spool(directory, SMALL))
    found: set[str] = set()
    while backlog.adopt():
        while items := backlog.take():
            found |= {id_of(item.payload) for item in items}
            backlog.settle(items, "accepted")
    backlog.retire()
    assert backlog.stats().is_balanced
    assert list(directory.glob("*.segment")) == []
    return found


def _assert_safe(line: int, directory: Path, end: End) -> bool:
    was_killed, accepted, stored = _run_until(line, directory, end)

    assert accepted - stored - _left(directory) == set(), f"killed at line {line}"
    assert was_killed or len(accepted) == EVENTS
    return was_killed


@pytest.mark.parametrize("end", [_kill, _leave])
def test_disk__killed_at_some_lines__loses_nothing_that_was_accepted(end: End, tmp_path: Path) -> None:
    killed = [_assert_safe(line, tmp_path / str(line), end) for line in range(1, 3_000, 97)]

    assert killed.count(True) > 8
    assert not killed[-1]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_disk__killed_at_every_line__loses_nothing_that_was_accepted(tmp_path: Path) -> None:
    line = 1
    while _assert_safe(line, tmp_path / str(line), _kill):
        line += 1

    assert line > 800
