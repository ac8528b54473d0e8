"""The spool on disk: torn tails, changed records, several processes, what is left behind."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_pipeline_sdk import Settings
from analytics_pipeline_sdk.delivery.backlog import Backlog
from analytics_pipeline_sdk.spool.directory import Spool
from analytics_pipeline_sdk.spool.records import HEAD_BYTES, framed, parsed
from analytics_pipeline_sdk.spool.segment import HEADER_BYTES

SETTINGS = Settings(spool_bytes=1 << 20, segment_bytes=1 << 16)


def _left_behind(directory: Path, *payloads: bytes, settings: Settings = SETTINGS) -> Path:
    """The segment of a process that died."""
    spool = Spool(directory, settings)
    for payload in payloads:
        spool.append([payload])
    spool.let_go()
    return next(directory.glob("*.segment"))


def _adopted(directory: Path) -> tuple[list[bytes], int, int]:
    """What a later process finds, with the torn tails and corrupt records it counts."""
    backlog = Backlog(SETTINGS, "disk", Spool(directory, SETTINGS))
    found: list[bytes] = []
    while backlog.adopt():
        while items := backlog.take():
            found += [item.payload for item in items]
            backlog.settle(items, "accepted")
    stats = backlog.stats()
    assert stats.is_balanced
    backlog.retire()
    return found, stats.torn, stats.corrupt


def test_adopt__whole_segment__gives_all_and_removes_it(spool: Path) -> None:
    _left_behind(spool, b"one", b"two")

    assert _adopted(spool) == ([b"one", b"two"], 0, 0)
    assert list(spool.iterdir()) == []


@pytest.mark.parametrize("cut", range(1, HEAD_BYTES + 5))
def test_adopt__torn_tail__is_skipped_and_counted(cut: int, spool: Path) -> None:
    path = _left_behind(spool, b"first", b"last!")
    os.truncate(path, path.stat().st_size - cut)

    assert _adopted(spool) == ([b"first"], 1, 0)
    assert list(spool.iterdir()) == []


def test_adopt__zeros_at_the_end__as_after_a_power_cut__are_a_torn_tail(spool: Path) -> None:
    path = _left_behind(spool, b"first")
    os.truncate(path, path.stat().st_size + 4_096)

    assert _adopted(spool) == ([b"first"], 1, 0)


def test_adopt__record_whose_bytes_changed__others_are_kept(spool: Path) -> None:
    path = _left_behind(spool, b"first", b"second", b"third")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"second", b"sec0nd"))

    assert _adopted(spool) == ([b"first", b"third"], 0, 1)


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 500])
def test_adopt__file_that_is_no_segment__is_counted_and_removed(content: bytes, spool: Path) -> None:
    spool.mkdir()
    (spool / "0.segment").write_bytes(content)

    assert _adopted(spool) == ([], 1, 0)
    assert list(spool.iterdir()) == []


def test_adopt__segment_of_a_living_process__is_left_alone(spool: Path) -> None:
    living = Spool(spool, SETTINGS)
    living.append([b"mine"])

    assert _adopted(spool) == ([], 0, 0)
    assert [record.payload for _, record in living.take(9, 999)] == [b"mine"]
    living.let_go()


def test_adopt__partly_settled__gives_the_rest_only(spool: Path) -> None:
    first = Backlog(replace(SETTINGS, batch_events=2), "disk", Spool(spool, SETTINGS))
    for payload in (b"one", b"two", b"three"):
        first.put(payload)
    first.settle(first.take(), "accepted")
    first.retire()

    assert _adopted(spool) == ([b"three"], 0, 0)


def test_settle__not_in_order__repeats_rather_than_loses(spool: Path) -> None:
    first = Backlog(replace(SETTINGS, batch_events=1), "disk", Spool(spool, SETTINGS))
    for payload in (b"one", b"two", b"three"):
        first.put(payload)
    held, second = first.take(), first.take()
    first.settle(second, "accepted")
    first.retire()

    assert [item.payload for item in held] == [b"one"]
    assert _adopted(spool) == ([b"one", b"two", b"three"], 0, 0)


def test_directory__events_are_for_its_owner_only(spool: Path) -> None:
    path = _left_behind(spool, b"secret")

    assert [one.stat().st_mode & 0o777 for one in (spool, path)] == [0o700, 0o600]


def test_sweep__unfinished_file__goes_when_it_is_old(spool: Path) -> None:
    spool.mkdir()
    for name, age in (("old.new", 7_200), ("fresh.new", 0)):
        (spool / name).touch()
        os.utime(spool / name, (time.time() - age,) * 2)

    Spool(spool, SETTINGS).adopt()

    assert [path.name for path in spool.iterdir()] == ["fresh.new"]


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.data())
def test_parsed__any_prefix__gives_the_records_that_are_whole(payloads: list[bytes], data: st.DataObject) -> None:
    written = framed(payloads)
    cut = data.draw(st.integers(0, len(written)))
    ends = [sum(len(one) + HEAD_BYTES for one in payloads[: n + 1]) for n in range(len(payloads))]

    records = list(parsed(written[:cut], HEADER_BYTES))

    assert [record.payload for record in records] == payloads[: sum(end <= cut for end in ends)]
    assert [record.end - HEADER_BYTES for record in records] == [end for end in ends if end <= cut]
