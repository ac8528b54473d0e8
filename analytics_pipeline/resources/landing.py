"""The landing zone: captured data as immutable files, one manifest a unit, on a local disk or in S3.

A unit (for example one environment's identities of one day) is committed by writing its manifest last, in one atomic
put. Readers see only files that a manifest names, so a capture that died half-way never happened.
"""

import hashlib
import logging
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import obstore
from obstore.store import LocalStore

from analytics_pipeline.config import AccessRefused, NotConfigured, Settings
from analytics_pipeline.resources.landing_units import DECODER, MANIFEST, CorruptUnit, LandedFile, LineFile, Manifest
from analytics_pipeline.resources.object_stores import (
    Bucket,
    bucket_of,
    directory_of,
    local_store,
    make_private,
    make_private_directory,
    put_private,
    refusal_of,
    s3_store,
)

if TYPE_CHECKING:
    from obstore.store import ObjectStore

logger = logging.getLogger(__name__)

ROWS_PER_FILE = 200_000
_READ_BYTES = 1 << 20


class UnitWriter:
    """A capture of one unit under way; nothing of it is visible before `commit`."""

    def __init__(self, store: "ObjectStore", unit: str, fmt: str, captured_at: datetime) -> None:
        self._store = store
        self._unit = unit
        self._format = fmt
        self._captured_at = captured_at
        self._files: list[LandedFile] = []
        self._open: LineFile | None = None

    def write(self, lines: bytes, rows: int) -> None:
        """Append `rows` whole lines; files are compressed while written and end after about `ROWS_PER_FILE`."""
        if self._open is None:
            name = f"{self._captured_at:%Y%m%dT%H%M%S%fZ}-{len(self._files):05d}.jsonl.zst"
            make_private_directory(self._store, self._unit)
            self._open = LineFile(name, obstore.open_writer(self._store, f"{self._unit}/{name}"))
        self._open.write(lines, rows)
        if self._open.rows >= ROWS_PER_FILE:
            self.close()

    def close(self) -> None:
        """End the current file."""
        if self._open is not None:
            self._files.append(self._open.finish())
            make_private(self._store, f"{self._unit}/{self._open.name}")
            self._open = None

    def commit(self, about: dict[str, Any]) -> Manifest:
        """Make this capture the unit's content, in one atomic put, then remove the files of earlier ones."""
        self.close()
        manifest = Manifest(self._format, self._captured_at, tuple(self._files), about)
        LandingZone(self._store).adopt(self._unit, manifest)
        return manifest


@dataclass(frozen=True)
class LandingZone:
    """Units of captured data under one root; `bucket` when that root is in S3."""

    store: "ObjectStore"
    bucket: Bucket | None = None

    @contextmanager
    def writer(self, unit: str, *, fmt: str, captured_at: datetime) -> Iterator[UnitWriter]:
        """Capture a unit anew. Until the body calls `commit`, and when it raises, the unit stays as it was."""
        writer = UnitWriter(self.store, unit, fmt, captured_at)
        try:
            yield writer
        except BaseException:
            # The first error is the one to be seen, not that the file cannot be ended either.
            with suppress(Exception):
                writer.close()
            raise
        writer.close()

    def adopt(self, unit: str, manifest: Manifest) -> None:
        """Make files that somebody else wrote the unit's content, in one atomic put, then remove all others."""
        put_private(self.store, f"{unit}/{MANIFEST}", msgspec.json.encode(manifest))
        kept = {MANIFEST, *(file.name for file in manifest.files)}
        gone = [f"{unit}/{file.name}" for file in self.stored(unit) if file.name not in kept]
        if gone:
            obstore.delete(self.store, gone)

    def stored(self, unit: str) -> list[LandedFile]:
        """All files that the store holds of the unit now, named or not, without rows; the oldest first."""
        entries = [entry for batch in obstore.list(self.store, f"{unit}/") for entry in batch]
        return [
            LandedFile(entry["path"].removeprefix(f"{unit}/"), None, entry["size"], etag=entry["e_tag"] or "")
            for entry in sorted(entries, key=lambda entry: (entry["last_modified"], entry["path"]))
        ]

    def below(self, prefix: str) -> list[str]:
        """The paths one level below the prefix that hold something."""
        return sorted(obstore.list_with_delimiter(self.store, f"{prefix}/")["common_prefixes"])

    def remove(self, unit: str) -> None:
        """Remove a unit, its manifest first: who reads it meanwhile finds that it was never captured."""
        names = [file.name for file in self.stored(unit)]
        for part in ([name for name in names if name == MANIFEST], [name for name in names if name != MANIFEST]):
            if part:
                obstore.delete(self.store, [f"{unit}/{name}" for name in part])

    def get(self, unit: str, name: str) -> bytes:
        """The content of one small file.

        Raises:
            FileNotFoundError: the unit has no such file.
        """
        return bytes(obstore.get(self.store, f"{unit}/{name}").bytes())

    def check(self) -> str:
        """Write and remove a probe object; says so in a few words.

        Raises:
            OSError, ValueError: the store refuses, or cannot be reached.
        """
        try:
            obstore.put(self.store, ".probe", b"")
            obstore.delete(self.store, ".probe")
        except (obstore.exceptions.BaseError, OSError) as error:
            raise OSError(" ".join(str(error).partition("\n\nDebug source")[0].split())) from error
        return "can be written"

    def manifest(self, unit: str, name: str = MANIFEST) -> Manifest | None:
        """The unit's manifest, or None when it has never been committed."""
        try:
            content = obstore.get(self.store, f"{unit}/{name}").bytes()
        except FileNotFoundError:
            return None
        try:
            return DECODER.decode(memoryview(content))
        except msgspec.DecodeError as error:
            raise CorruptUnit(f"{unit}/{name} cannot be read: {error}. Capture the unit again.") from error

    def readable_manifest(self, unit: str, name: str = MANIFEST) -> Manifest | None:
        """The unit's manifest, or None also when it is damaged: for who replaces it, or can do without it."""
        try:
            return self.manifest(unit, name)
        except CorruptUnit as error:
            logger.warning("%s", error)
            return None

    def read(self, unit: str, file: LandedFile) -> Generator[bytes, None, None]:
        """The stored bytes of one file in chunks, verified against the manifest.

        Raises:
            CorruptUnit: the file is gone, or its bytes are not those that were committed.
        """
        digest = hashlib.sha256()
        try:
            for chunk in obstore.get(self.store, f"{unit}/{file.name}").stream(min_chunk_size=_READ_BYTES):
                data = bytes(chunk)
                digest.update(data)
                yield data
        except FileNotFoundError:
            raise CorruptUnit(
                f"{unit}/{file.name} is missing, its manifest names it. Restore or recapture it."
            ) from None
        if digest.hexdigest() != file.sha256:
            raise CorruptUnit(f"{unit}/{file.name} differs from its manifest's checksum. Restore or recapture it.")


def landing_zone(settings: Settings) -> LandingZone:
    """The configured landing zone; S3 credentials, region and endpoint come from the standard AWS environment.

    Raises:
        NotConfigured: `LANDING_URL` is not set.
        AccessRefused: it is no directory, and none can be made there.
    """
    if settings.landing_url is None:
        raise NotConfigured("landing_zone", "LANDING_URL")
    if settings.landing_url.startswith("file:"):
        return LandingZone(_directory(directory_of(settings.landing_url)))
    bucket = bucket_of(settings.landing_url)
    return LandingZone(s3_store(bucket), bucket)


def _directory(root: Path) -> LocalStore:
    try:
        return local_store(root)
    except OSError as error:
        raise AccessRefused(
            f"The landing zone at {root} cannot be used: {refusal_of(root, error)}. Check LANDING_URL, then run:"
            " analytics-pipeline doctor"
        ) from None
