"""Compressed files by day in a directory or a bucket. A batch is there when its manifest is, which is written last."""

import errno
import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import msgspec
import obstore
import zstandard
from botocore.exceptions import BotoCoreError

from analytics_pipeline.config import Settings
from analytics_pipeline.resources.landing import LandingZone
from analytics_pipeline.resources.landing_units import LandedFile, Manifest
from analytics_pipeline.resources.object_stores import (
    bucket_of,
    directory_of,
    impatient,
    local_store,
    put_private,
    s3_store,
    settle,
)
from analytics_pipeline.resources.sinks.base import Batch, Delivery, SinkRefused, SinkUnavailable
from analytics_pipeline.resources.sinks.parts import records_of
from analytics_pipeline.sink_addresses import SinkAddress

if TYPE_CHECKING:
    from obstore.store import ObjectStore

T = TypeVar("T")

FORMAT = "usage-events/1"
EVENTS, MANIFESTS, TESTS = "events", "manifests", "tests"
NO_DAY = "unknown"
_LEVEL = 3
# As the system says it, in whatever it is wrapped.
_NO_SPACE = os.strerror(errno.ENOSPC)
_REFUSALS = (obstore.exceptions.PermissionDeniedError, obstore.exceptions.UnauthenticatedError, PermissionError)


class _Stamp(msgspec.Struct):
    timestamp: str | None = None


_STAMPS = msgspec.json.Decoder(_Stamp)


@dataclass(frozen=True)
class ObjectSink:
    """Batches as files, in `events/day=…/`, with a manifest of each in `manifests/`."""

    name: str
    url: str

    def check(self) -> None:
        # It stays: who may write need not be allowed to remove.
        self._asked(lambda: put_private(self._store, f"{TESTS}/probe", b""))

    def send(self, batch: Batch) -> Delivery:
        return self._asked(lambda: self._stored(batch))

    def close(self) -> None:
        """Nothing is open."""

    @cached_property
    def _store(self) -> "ObjectStore":
        if self.url.startswith("file:"):
            return local_store(directory_of(self.url))
        try:
            return s3_store(bucket_of(self.url), impatient())
        except (ValueError, BotoCoreError):
            raise self._refusal("the AWS environment has no credentials or no region") from None

    def _stored(self, batch: Batch) -> Delivery:
        digest = hashlib.sha256(batch.lines).hexdigest()
        path, stem = self._place_of(batch, digest)
        root = TESTS if batch.is_synthetic else EVENTS
        days = sorted(lines_by_day(batch).items())
        files = tuple(self._put(root, f"day={day}/{stem}.ndjson.zst", lines) for day, lines in days)
        settle(self._store, [f"{root}/{file.name}" for file in files])
        about = {"first_id": batch.first_id, "last_id": batch.last_id, "sha256": digest}
        manifest = Manifest(FORMAT, datetime.now(timezone.utc), files, about)
        put_private(self._store, path, msgspec.json.encode(manifest))
        settle(self._store, [path])
        return Delivery(manifest.bytes)

    def _place_of(self, batch: Batch, digest: str) -> tuple[str, str]:
        """The manifest's path, and the name of the files.

        The same records take the same place each time. Other records between the same ids, as a replay under another
        allow list has them, take another: nothing that was delivered goes.
        """
        folder = f"{TESTS}/{MANIFESTS}" if batch.is_synthetic else MANIFESTS
        name = f"{batch.first_id:020d}-{batch.last_id:020d}"
        held = LandingZone(self._store).readable_manifest(folder, f"{name}.json")
        if held is None or held.about.get("sha256") == digest:
            return f"{folder}/{name}.json", batch.key
        return f"{folder}/{name}-{digest[:12]}.json", f"{batch.key}-{digest[:12]}"

    def _put(self, root: str, name: str, lines: bytes) -> LandedFile:
        content = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress(lines)
        put_private(self._store, f"{root}/{name}", content)
        return LandedFile(name, lines.count(b"\n"), len(content), hashlib.sha256(content).hexdigest())

    def _asked(self, ask: Callable[[], T]) -> T:
        """The texts of errors are left out: a service's may hold keys."""
        try:
            return ask()
        except FileNotFoundError:
            raise self._refusal("its bucket or directory does not exist") from None
        except _REFUSALS:
            raise self._refusal("access is denied, or there are no credentials") from None
        except (NotADirectoryError, FileExistsError):
            raise self._refusal("a file is in the place of a directory") from None
        except (obstore.exceptions.BaseError, OSError) as error:
            told = "no space is left on its disk" if _NO_SPACE in str(error) else type(error).__name__
            raise SinkUnavailable(f"The sink {self.name} did not store the batch: {told}") from None

    def _refusal(self, reason: str) -> SinkRefused:
        return SinkRefused(f"The sink {self.name} cannot be written: {reason}. Check EXPORT_SINKS")


def lines_by_day(batch: Batch) -> Mapping[str, bytes]:
    """The lines of each UTC day of the events, in the batch's order; of those without a time under `unknown`."""
    dates = [(stamp.timestamp or "")[:10] for stamp in _STAMPS.decode_lines(batch.lines)]
    days = {date: _day(date) for date in {*dates}}
    if len({*days.values()}) == 1:
        return {days[dates[0]]: batch.lines}
    found = defaultdict[str, list[bytes]](list)
    for date, record in zip(dates, records_of(batch), strict=True):
        found[days[date]].append(record + b"\n")
    return {day: b"".join(lines) for day, lines in found.items()}


def _day(date: str) -> str:
    """The date as a part of a path; nothing else may be in one."""
    return date if re.fullmatch(r"\d{4}-\d\d-\d\d", date, re.ASCII) else NO_DAY


def manifests(store: "ObjectStore", after: str = "") -> Iterator[tuple[str, Manifest]]:
    """The name and the content of each manifest whose name comes after that one, in the order of first ids.

    Raises:
        CorruptUnit: a manifest cannot be read.
    """
    zone = LandingZone(store)
    names = sorted(file.name for file in zone.stored(MANIFESTS) if file.name > after)
    yield from ((name, found) for name in names if (found := zone.manifest(MANIFESTS, name)))


def lines_of(store: "ObjectStore", manifest: Manifest) -> Iterator[bytes]:
    """The records that a manifest names, the lines of one file at a time; what no manifest names was never delivered.

    Raises:
        CorruptUnit: a file is gone, or its bytes are not those that were delivered.
    """
    zone = LandingZone(store)
    for file in manifest.files:
        stored = b"".join(zone.read(EVENTS, file))
        yield zstandard.ZstdDecompressor().decompressobj().decompress(stored)


def open_objects(address: SinkAddress, settings: Settings, run_id: str | None) -> ObjectSink:
    """The sink of a directory or bucket."""
    return ObjectSink(address.name, address.url.get_secret_value())
