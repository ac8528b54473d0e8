"""Content-Encoding in both directions, in bounded memory."""

import zlib
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any, Protocol

import zstandard

from analytics_pipeline.embedded.clickhouse.errors import (
    BAD_ARGUMENTS,
    CANNOT_DECOMPRESS,
    NOT_IMPLEMENTED,
    clickhouse_error,
)

# None of the three libraries limits the output of one call in the same way; a small input limits it for all.
_SLICE_BYTES = 8 * 1024
_GZIP_WBITS = 31


class Decoder(Protocol):
    """One frame of compressed data."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


class Encoder(Protocol):
    """A response body in the making; every chunk is flushed, so a stream stays a stream."""

    def encode(self, data: bytes) -> bytes: ...

    def finish(self) -> bytes: ...


def decode(encoding: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yields the plain bytes of a request body of any number of frames; a cut-off body is an error."""
    if encoding in ("", "identity"):
        yield from chunks
        return
    try:
        yield from _decode_frames(encoding, chunks)
    except (zlib.error, zstandard.ZstdError, RuntimeError) as error:
        raise clickhouse_error(
            CANNOT_DECOMPRESS, f"The body is not valid {encoding}: {error}. Check the Content-Encoding header."
        ) from error


def _decode_frames(encoding: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    decoder = _decoder(encoding)
    started = False
    for data in (chunk[at : at + _SLICE_BYTES] for chunk in chunks for at in range(0, len(chunk), _SLICE_BYTES)):
        rest = data
        while rest:
            if decoder.eof:
                decoder = _decoder(encoding)
            started = True
            yield decoder.decompress(rest)
            rest = decoder.unused_data if decoder.eof else b""
    if started and not decoder.eof:
        raise clickhouse_error(CANNOT_DECOMPRESS, f"The {encoding} body ends in the middle of a frame. Send it again.")


def _decoder(encoding: str) -> Decoder:
    if encoding == "zstd":
        return zstandard.ZstdDecompressor().decompressobj()
    if encoding in ("gzip", "deflate"):
        return zlib.decompressobj(_GZIP_WBITS if encoding == "gzip" else zlib.MAX_WBITS)
    if encoding == "lz4":
        lz4_decoder: Decoder = _lz4().LZ4FrameDecompressor()
        return lz4_decoder
    raise clickhouse_error(
        NOT_IMPLEMENTED, f"Content-Encoding {encoding!r} is unknown: use lz4, zstd, gzip, deflate or none"
    )


def _lz4() -> Any:
    try:
        return import_module("lz4.frame")
    except ImportError as error:
        raise clickhouse_error(BAD_ARGUMENTS, "lz4 is not installed on this server: pip install lz4") from error


class _Zlib:
    def __init__(self, wbits: int) -> None:
        self._encoder = zlib.compressobj(1, wbits=wbits)

    def encode(self, data: bytes) -> bytes:
        return self._encoder.compress(data) + self._encoder.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._encoder.flush()


class _Zstd:
    def __init__(self) -> None:
        self._encoder = zstandard.ZstdCompressor(level=1).compressobj()

    def encode(self, data: bytes) -> bytes:
        return self._encoder.compress(data) + self._encoder.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)

    def finish(self) -> bytes:
        return self._encoder.flush()


class _Lz4:
    def __init__(self) -> None:
        self._encoder = _lz4().LZ4FrameCompressor(auto_flush=True)
        self._head: bytes = self._encoder.begin()

    def encode(self, data: bytes) -> bytes:
        head, self._head = self._head, b""
        return head + bytes(self._encoder.compress(data))

    def finish(self) -> bytes:
        return self._head + bytes(self._encoder.flush())


def negotiate(accept_encoding: str) -> tuple[str, Encoder] | None:
    """Returns the first encoding of the client's list that the server has, with a fresh encoder."""
    for name in (part.partition(";")[0].strip() for part in accept_encoding.lower().split(",")):
        if name == "lz4":
            return name, _Lz4()
        if name == "zstd":
            return name, _Zstd()
        if name in ("gzip", "deflate"):
            return name, _Zlib(_GZIP_WBITS if name == "gzip" else zlib.MAX_WBITS)
    return None
