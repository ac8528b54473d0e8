"""Landing files without somebody: a unit's files are written anew where they name the subject, and adopted at once.

A capture that died has left files that no manifest names; they go. Nobody may be capturing the unit meanwhile.
"""

import gzip
import secrets
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import msgspec
import obstore
import zstandard

from analytics_pipeline.flows.erasure.letters import Document, identities_of
from analytics_pipeline.flows.identities.units import EXPORT_FORMAT
from analytics_pipeline.resources.landing import LandingZone
from analytics_pipeline.resources.landing_units import LandedFile, LineFile, Manifest
from analytics_pipeline.resources.object_stores import make_private

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Named:
    """Identities to be left out: whether an environment's key and an identifier name one.

    `only` is the identifier of whom it is, where it is one: most blocks of a file do not hold it.
    """

    names: Callable[[str, str], bool]
    only: str | None = None


class _Row(msgspec.Struct, gc=False):
    environment_id: str
    identifier: str


class _Item(msgspec.Struct, gc=False):
    Item: Document


_ROW = msgspec.json.Decoder(_Row)
_ITEM = msgspec.json.Decoder(_Item)


def found_in(landing: LandingZone, unit: str, named: Named) -> int:
    """How many rows of the unit name somebody."""
    manifest = landing.readable_manifest(unit)
    if manifest is None:
        return 0
    return sum(_Stored(landing, unit, manifest, file, named).count() for file in manifest.files)


def leave_out(landing: LandingZone, unit: str, named: Named) -> int:
    """Rewrite the unit without the rows that name somebody; returns how many there were."""
    manifest = landing.readable_manifest(unit)
    if manifest is None:
        landing.remove(unit)
        return 0
    files, removed = [], 0
    for file in manifest.files:
        stored = _Stored(landing, unit, manifest, file, named)
        # Most files are of others, and are not written again.
        rows = stored.count()
        files.append(stored.rewritten() if rows else file)
        removed += rows
    about = dict(manifest.about)
    if isinstance(about.get("items"), int):
        about["items"] -= removed
    landing.adopt(unit, msgspec.structs.replace(manifest, files=tuple(files), about=about))
    return removed


@dataclass(frozen=True)
class _Stored:
    """One file of a unit."""

    landing: LandingZone
    unit: str
    manifest: Manifest
    file: LandedFile
    named: Named

    @property
    def is_export(self) -> bool:
        return self.manifest.format == EXPORT_FORMAT

    def count(self) -> int:
        """How many of its lines name somebody."""
        return sum(sum(map(self._is_named, block.split(b"\n"))) for block in self._blocks() if self._may_hold(block))

    def rewritten(self) -> LandedFile:
        """The file without those lines, under a name that is nobody's: the old one stays until it is adopted."""
        directory, slash, old = self.file.name.rpartition("/")
        stem, _, ending = old.partition(".")
        name = f"{directory}{slash}{stem.partition('~')[0]}~{secrets.token_hex(4)}.{ending}"
        path = f"{self.unit}/{name}"
        sink = obstore.open_writer(self.landing.store, path)
        landed = self._write_export(name, sink) if self.is_export else self._write_rows(name, sink)
        make_private(self.landing.store, path)
        if not self.is_export:
            return landed
        (stored,) = [one for one in self.landing.stored(self.unit) if one.name == name]
        return msgspec.structs.replace(stored, rows=None if self.file.rows is None else landed.rows)

    def _write_rows(self, name: str, sink: Any) -> LandedFile:
        new = LineFile(name, sink)
        for lines in self._kept():
            new.write(lines, lines.count(b"\n"))
        return new.finish()

    def _write_export(self, name: str, sink: Any) -> LandedFile:
        rows = 0
        with gzip.open(sink, "wb") as packed:
            for lines in self._kept():
                packed.write(lines)
                rows += lines.count(b"\n")
        sink.close()
        return LandedFile(name, rows, 0)

    def _kept(self) -> Iterator[bytes]:
        for block in self._blocks():
            if not self._may_hold(block):
                yield block
            else:
                lines = [line + b"\n" for line in block.split(b"\n") if line and not self._is_named(line)]
                yield b"".join(lines)

    def _may_hold(self, block: bytes) -> bool:
        """Our own files write an identifier in one way only."""
        return self.is_export or self.named.only is None or msgspec.json.encode(self.named.only) in block

    def _is_named(self, line: bytes) -> bool:
        try:
            if self.is_export:
                return any(self.named.names(*one) for one in identities_of(_ITEM.decode(line).Item))
            row = _ROW.decode(line)
        except msgspec.MsgspecError:
            return False
        return self.named.names(row.environment_id, row.identifier)

    def _blocks(self) -> Iterator[bytes]:
        """The content in pieces of whole lines, each with its end."""
        rest = b""
        for content in self._unpacked():
            whole, _, rest = (rest + content).rpartition(b"\n")
            if whole:
                yield whole + b"\n"
        if rest:
            yield rest + b"\n"

    def _unpacked(self) -> Iterator[bytes]:
        if self.is_export:
            stored: Any = obstore.open_reader(self.landing.store, f"{self.unit}/{self.file.name}")
            with closing(stored), gzip.open(stored) as unpacked:
                while content := unpacked.read(_BLOCK):
                    yield content
            return
        unpacking = zstandard.ZstdDecompressor().decompressobj()
        for chunk in self.landing.read(self.unit, self.file):
            yield unpacking.decompress(chunk)
