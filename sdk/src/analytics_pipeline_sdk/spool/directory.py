"""A spool directory, which several processes may share: each writes its own segments and takes those of dead ones."""

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

from analytics_pipeline_sdk.settings import Settings
from analytics_pipeline_sdk.spool.errors import SpoolFull
from analytics_pipeline_sdk.spool.records import HEAD_BYTES, Record
from analytics_pipeline_sdk.spool.segment import HEADER_BYTES, SUFFIX, UNFINISHED, Segment, adopt, create

_FULL_SECONDS = 0.2
_UNFINISHED_SECONDS = 3_600.0
# A small spool is cut into some segments, or nothing of it could be given back before all is sent.
_LEAST_SEGMENTS = 4


class Spool:
    """Not safe between threads: its user holds a lock. Every method may raise OSError where it writes."""

    def __init__(self, directory: Path, settings: Settings) -> None:
        self.directory = directory
        self.unread = 0
        self.torn = self.corrupt = 0
        self._settings = settings
        self._segment_bytes = min(settings.segment_bytes, settings.spool_bytes // _LEAST_SEGMENTS)
        self._segments: list[Segment] = []
        self._active: Segment | None = None
        self._unsynced = False
        self._full_until = 0.0

    @property
    def pending(self) -> int:
        """How many events of ours are on disk and not settled."""
        return sum(segment.unsettled for segment in self._segments)

    def append(self, payloads: Sequence[bytes]) -> None:
        """Write the payloads, all or none; raises SpoolFull where there is no room, OSError where the disk fails."""
        size = sum(map(len, payloads)) + HEAD_BYTES * len(payloads)
        active = self._active
        if active is None or (active.end + size > self._segment_bytes and active.end > HEADER_BYTES):
            active = self._rotate(size)
        active.append(payloads, sync=self._settings.fsync == "always")
        self.unread += len(payloads)
        self._unsynced = True

    def _rotate(self, size: int) -> Segment:
        if time.monotonic() < self._full_until:
            raise SpoolFull
        if self._bytes() + max(self._segment_bytes, size + HEADER_BYTES) > self._settings.spool_bytes:
            self._full_until = time.monotonic() + _FULL_SECONDS
            raise SpoolFull
        fresh = create(self.directory)
        sealed, self._active = self._active, fresh
        self._segments.append(fresh)
        if sealed is not None:
            self._remove_if_settled(sealed)
        return fresh

    def _bytes(self) -> int:
        """The size of all segments in the directory, those of other processes included."""
        total = 0
        with contextlib.suppress(FileNotFoundError), os.scandir(self.directory) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    total += entry.stat().st_size
        return total

    def take(self, most_events: int, most_bytes: int) -> list[tuple[Segment, Record]]:
        """The next records to send, the oldest first."""
        taken: list[tuple[Segment, Record]] = []
        for segment in self._segments:
            if not segment.unread:
                continue
            records = segment.take(most_events - len(taken), most_bytes, at_least_one=not taken)
            taken += [(segment, record) for record in records]
            most_bytes -= sum(record.end - record.start for record in records)
            if segment.unread:
                break
        self.unread -= len(taken)
        return taken

    def settle(self, segment: Segment, records: Sequence[tuple[int, int]]) -> None:
        """Remember that these records need not be sent again; a segment without others is removed."""
        segment.settle(records)
        self._remove_if_settled(segment)

    def _remove_if_settled(self, segment: Segment) -> None:
        if segment.unsettled == 0 and segment is not self._active:
            self._remove(segment)

    def _remove(self, segment: Segment) -> None:
        self._segments.remove(segment)
        segment.remove()
        self._full_until = 0.0

    def drop_oldest(self) -> int:
        """Give up the oldest segment of which nothing is being sent; returns how many events were lost with it."""
        for segment in self._segments:
            if segment.unread == segment.unsettled > 0:
                self.unread -= segment.unread
                if segment is self._active:
                    self._active = None
                self._remove(segment)
                return segment.unsettled
        return 0

    def adopt(self) -> int:
        """Take over one segment of a process that is no more; returns how many events came with it."""
        mine = {segment.path for segment in self._segments}
        for path in self._names(SUFFIX):
            segment = None if path in mine else adopt(path)
            if segment is None:
                continue
            self.torn += segment.torn
            self.corrupt += segment.corrupt
            if segment.unsettled:
                self._segments.insert(0, segment)
                self.unread += segment.unread
                return segment.unsettled
            segment.remove()
        self._sweep()
        return 0

    def has_leftovers(self) -> bool:
        """Whether there are segments that are not of this object; their processes may be alive."""
        return bool({*self._names(SUFFIX)} - {segment.path for segment in self._segments})

    def _names(self, suffix: str) -> list[Path]:
        try:
            return sorted(self.directory / name for name in os.listdir(self.directory) if name.endswith(suffix))
        except OSError:
            return []

    def _sweep(self) -> None:
        """Remove files that got no name because their process died while it made them."""
        for path in self._names(UNFINISHED):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _UNFINISHED_SECONDS:
                    path.unlink()

    def unsynced(self) -> int | None:
        """A descriptor of the file that has bytes a power cut would lose, for the caller to sync and close."""
        if not self._unsynced or self._active is None:
            return None
        self._unsynced = False
        return os.dup(self._active.file)

    def close(self) -> None:
        """Unlock everything for a later process; what is settled is removed."""
        self._active = None
        for segment in list(self._segments):
            self._remove_if_settled(segment)
        self.let_go()

    def let_go(self) -> None:
        """Close all files and leave them as they are; in a forked child they still belong to its parent."""
        for segment in self._segments:
            segment.let_go()
