"""A segment file: owned by the process that holds its lock, appended to, read back, removed when all is settled.

The file begins with a header: eight bytes that say what it is, and up to which offset everything is settled. The lock
(flock) ends with its process, however that dies, which is how others see that the file is free to take.
"""

import contextlib
import errno
import fcntl
import os
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from analytics_pipeline_sdk.identifiers import uuid7
from analytics_pipeline_sdk.spool.records import HEAD_BYTES, Record, framed, length_at, parsed

SUFFIX, UNFINISHED = ".segment", ".new"
_HEADER = struct.Struct("<8sQ")
_MAGIC = b"APSDK\x00\x001"
HEADER_BYTES = _HEADER.size
_WINDOW_BYTES = 64 << 10


@dataclass(eq=False)
class Segment:
    """`end` is where the valid records end, `read` where reading goes on, `done` up to where all is settled.

    `unread` and `unsettled` count records; `torn` counts tails that were cut off and `corrupt` records that changed.
    """

    path: Path
    file: int
    end: int = HEADER_BYTES
    read: int = HEADER_BYTES
    done: int = HEADER_BYTES
    unread: int = 0
    unsettled: int = 0
    torn: int = 0
    corrupt: int = 0

    def __post_init__(self) -> None:
        self._settled: dict[int, int] = {}

    def append(self, payloads: Sequence[bytes], *, sync: bool) -> None:
        """Write the payloads with one system call, and to the disk itself if `sync`.

        Raises OSError, after which the segment is as it was before.
        """
        data = framed(payloads)
        try:
            if os.pwrite(self.file, data, self.end) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if sync:
                os.fsync(self.file)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self.file, self.end)
            raise
        self.end += len(data)
        self.unread += len(payloads)
        self.unsettled += len(payloads)

    def take(self, most_events: int, most_bytes: int, *, at_least_one: bool) -> list[Record]:
        """The next records that fit, corrupt ones left out; the first may be too large where one has to be taken."""
        taken: list[Record] = []
        for record in self._following():
            size = record.end - record.start
            fits = size <= most_bytes or (at_least_one and not taken)
            if len(taken) >= most_events or not fits:
                break
            most_bytes -= size
            self.read = record.end
            if record.payload is not None:
                taken.append(record)
        self.unread -= len(taken)
        return taken

    def _following(self) -> Iterator[Record]:
        position = self.read
        while position < self.end:
            data = os.pread(self.file, min(_WINDOW_BYTES, self.end - position), position)
            length = length_at(data, 0)
            if length is not None and length + HEAD_BYTES > len(data):
                data = os.pread(self.file, length + HEAD_BYTES, position)
            before = position
            for record in parsed(data, position):
                yield record
                position = record.end
            if position == before:
                return

    def settle(self, records: Iterable[tuple[int, int]]) -> None:
        """Remember that these records (start, end) need not be sent again."""
        count = 0
        for count, (start, end) in enumerate(records, start=1):  # noqa: B007 - the last one is how many there are
            self._settled[start] = end
        self.unsettled -= count
        before = self.done
        while self.done in self._settled:
            self.done = self._settled.pop(self.done)
        if self.done != before:
            with contextlib.suppress(OSError):  # it would only be sent again, and known by its id
                os.pwrite(self.file, _HEADER.pack(_MAGIC, self.done), 0)

    def remove(self) -> None:
        with contextlib.suppress(OSError):
            self.path.unlink()
        self.let_go()

    def let_go(self) -> None:
        """Close the file, which unlocks it unless a forked process still has it open; what is in it stays."""
        os.close(self.file)


def create(directory: Path) -> Segment:
    """A new empty segment. It gets its name when it is locked, so that nobody takes it in between. Raises OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / f"{uuid7(time.time_ns())}{SUFFIX}"
    unfinished = path.with_suffix(UNFINISHED)
    file = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.pwrite(file, _HEADER.pack(_MAGIC, HEADER_BYTES), 0)
        unfinished.rename(path)
    except OSError:
        os.close(file)
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise
    return Segment(path, file)


def adopt(path: Path) -> Segment | None:
    """The segment that a process left which is no more; None if its process lives or another was quicker."""
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.stat(path).st_ino == os.fstat(file).st_ino:
            return _scanned(Segment(path, file))
    except OSError:
        pass
    os.close(file)
    return None


def _scanned(segment: Segment) -> Segment:
    """Find out what is left to send: everything from the settled offset to the end or to where a record is cut off."""
    size = os.fstat(segment.file).st_size
    head = os.pread(segment.file, HEADER_BYTES, 0)
    magic, done = _HEADER.unpack(head) if len(head) == HEADER_BYTES else (b"", 0)
    if magic != _MAGIC:
        segment.torn = 1
        return segment
    segment.done = segment.read = done if HEADER_BYTES <= done <= size else HEADER_BYTES
    segment.end, last = size, segment.read
    for record in segment._following():
        last = record.end
        segment.unread += record.payload is not None
        segment.corrupt += record.payload is None
    segment.torn, segment.end = int(last != size), last
    segment.unsettled = segment.unread
    return segment
