"""Disks that are full, or fail: what is refused then, and what is brought to the disk itself."""

import errno
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from analytics_pipeline_sdk import AnalyticsClient, Settings, Stats
from analytics_pipeline_sdk.spool.directory import Spool
from analytics_pipeline_sdk.spool.errors import SpoolFull
from sdk_support.receiver import Receiver
from sdk_support.samples import FAST, event

MakeClient = Callable[..., AnalyticsClient]


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
