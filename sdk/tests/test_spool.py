"""The spool on disk: torn tails, changed records, bounds, several processes, failing disks."""

import errno
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_pipeline_sdk import AnalyticsClient, Settings, Stats
from analytics_pipeline_sdk.delivery.backlog import Backlog
from analytics_pipeline_sdk.spool.directory import Spool
from analytics_pipeline_sdk.spool.errors import SpoolFull
from analytics_pipeline_sdk.spool.records import HEAD_BYTES, framed, parsed
from analytics_pipeline_sdk.spool.segment import HEADER_BYTES
from sdk_support.receiver import Receiver
from sdk_support.samples import FAST, event

SETTINGS = Settings(spool_bytes=1 << 20, segment_bytes=1 << 16)
MakeClient = Callable[..., AnalyticsClient]


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


def _fill(spool: Spool) -> None:
    for _ in range(1_000):
        spool.append([b"x" * 100])


def test_append__directory_full__is_refused_until_there_is_room(spool: Path) -> None:
    settings = Settings(spool_bytes=8_000, segment_bytes=2_000)
    full = Spool(spool, settings)

    with pytest.raises(SpoolFull):
        _fill(full)

    size = sum(path.stat().st_size for path in spool.iterdir())
    taken = full.take(1_000, 1 << 20)
    full.settle(taken[0][0], [record[1:] for segment, record in taken if segment is taken[0][0]])
    full.append([b"fits again"])

    assert 4_000 < size <= 8_000
    full.let_go()


def test_append__other_processes_fill_the_directory__counts_for_the_bound(spool: Path) -> None:
    settings = Settings(spool_bytes=8_000, segment_bytes=2_000)
    others = [Spool(spool, settings) for _ in range(8)]
    refused = 0
    for _ in range(200):
        for other in others:
            try:
                other.append([b"x" * 100])
            except SpoolFull:
                refused += 1

    assert refused > 0
    assert sum(path.stat().st_size for path in spool.iterdir()) <= 8_000 + 8 * 2_000
    for other in others:
        other.let_go()


@pytest.mark.parametrize("written", ["nothing", "half"])
def test_track__disk_fails__is_refused_and_the_next_is_whole(
    written: str, make: MakeClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, real = make(durability="disk"), os.pwrite
    client.track(event(1))

    def failing(file: int, data: bytes, offset: int) -> int:
        if written == "half":
            return real(file, data[: len(data) // 2], offset)
        raise OSError(errno.EIO, "input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", failing)
        assert client.track(event(2)) is None
    client.track(event(3))

    assert client.flush(5)
    stats = client.stats()
    assert (stats.accepted, stats.delivered, stats.refused) == (2, 2, {"spool_failed": 1})


def test_memory__spool_cannot_be_made__events_stay_in_memory(
    receiver: Receiver, make: MakeClient, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    receiver.then = "503"
    client = make(spool=tmp_path / "file" / "spool")
    client.track(event())
    client.flush(0.1)
    receiver.then = "ok"

    assert client.flush(5)
    assert len(receiver.stored) == 1


@pytest.mark.parametrize("policy", ["always", "interval"])
def test_fsync__by_policy__reaches_the_disk(
    policy: str, make: MakeClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    receiver.then = "503"
    client = make(durability="disk", settings=Settings(fsync=policy, flush_interval=0.05))  # type: ignore[arg-type]

    client.track(event())

    deadline = time.monotonic() + 5
    while not synced and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(synced) == 1


def test_fsync__disk_fails__event_is_refused_and_not_sent(
    make: MakeClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(file: int) -> None:
        raise OSError(errno.EIO, "input/output error")

    client = make(durability="disk", settings=replace(FAST, fsync="always"))
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", failing)
        assert client.track(event(1)) is None
    kept = client.track(event(2))

    assert client.flush(5)
    assert [*receiver.stored] == [kept]
    assert client.stats() == Stats(accepted=1, delivered=1, refused={"spool_failed": 1})


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
