"""The units of the landing zone: what a manifest promises, and the compressed files that it names."""

import hashlib
from datetime import datetime
from typing import Any

import msgspec
import zstandard

from analytics_pipeline.errors import Broken

MANIFEST = "manifest.json"
_LEVEL = 3


class CorruptUnit(Broken):
    """A landing-zone unit does not hold what its manifest promises."""


class LandedFile(msgspec.Struct, frozen=True):
    """One committed file: its name inside the unit, rows, stored bytes and the SHA-256 of those bytes.

    Of a file that somebody else wrote, the store's entity tag stands for the checksum, and rows may be unknown (None).
    """

    name: str
    rows: int | None
    bytes: int
    sha256: str = ""
    etag: str = ""


class Manifest(msgspec.Struct, frozen=True):
    """Describes a unit. `captured_at` (UTC) versions it; `format` names the file format; `about` is the flow's own."""

    format: str
    captured_at: datetime
    files: tuple[LandedFile, ...]
    about: dict[str, Any] = {}

    @property
    def rows(self) -> int:
        return sum(file.rows or 0 for file in self.files)

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)


DECODER = msgspec.json.Decoder(Manifest)


class LineFile:
    """A zstd-compressed file of newline-terminated rows under way."""

    def __init__(self, name: str, sink: Any) -> None:
        self.name = name
        self._sink = sink
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compressobj()
        self._digest = hashlib.sha256()
        self._bytes = 0
        self.rows = 0

    def write(self, lines: bytes, rows: int) -> None:
        self.rows += rows
        self._append(self._compressor.compress(lines))

    def finish(self) -> LandedFile:
        self._append(self._compressor.flush())
        self._sink.close()
        return LandedFile(self.name, self.rows, self._bytes, self._digest.hexdigest())

    def _append(self, compressed: bytes) -> None:
        if compressed:
            self._digest.update(compressed)
            self._bytes += len(compressed)
            self._sink.write(compressed)
