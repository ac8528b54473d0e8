"""The body of a request: read within a limit of time and size, and decompressed within the same."""

import asyncio
import zlib
from collections.abc import Mapping
from typing import Any

import zstandard

from analytics_pipeline.api.ingestion.answers import Refusal
from analytics_pipeline.flows.product_events.decoding import Form
from analytics_pipeline_sdk.protocol import LARGEST_BATCH_BYTES

READ_SECONDS = 30.0
_FORMS: Mapping[str, Form] = {
    "": "json",
    "application/json": "json",
    "application/x-ndjson": "lines",
    "application/ndjson": "lines",
    "application/jsonl": "lines",
}
_GZIP = zlib.MAX_WBITS | 16
_LARGEST_WINDOW = 8 << 20
# What is left of the body is copied for each: thousands of empty ones would keep a worker from everybody else.
_MOST_MEMBERS = 100
# A block of 128 KiB takes four bytes at the least, so a step makes no more than 8 MB.
_STEP = 256


def form_of(headers: Mapping[bytes, bytes]) -> Form:
    """How the events stand in the body.

    Raises:
        Refusal: it is of a type that is not taken.
    """
    media = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
    if media not in _FORMS:
        raise Refusal(415, "send application/json or application/x-ndjson")
    return _FORMS[media]


async def body_of(headers: Mapping[bytes, bytes], receive: Any) -> bytes:
    """The body, decompressed.

    Raises:
        Refusal: it is too large before or after that, compressed otherwise, broken, or too slow.
    """
    encoding = headers.get(b"content-encoding", b"identity").decode("latin-1").strip().lower()
    if encoding not in ("identity", "gzip", "zstd"):
        raise Refusal(415, "compress with gzip or zstd, or not at all", {"Accept-Encoding": "gzip, zstd"})
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length) > LARGEST_BATCH_BYTES:
        raise _too_large()
    try:
        sent = await asyncio.wait_for(_read(receive), READ_SECONDS)
    except asyncio.TimeoutError:
        raise Refusal(408, f"the body was not there within {READ_SECONDS:g} s", {"Connection": "close"}) from None
    return sent if encoding == "identity" else _decompressed(sent, encoding)


async def _read(receive: Any) -> bytes:
    found = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refusal(400, "the body ended early")
        found += message.get("body", b"")
        if len(found) > LARGEST_BATCH_BYTES:
            raise _too_large()
        if not message.get("more_body"):
            return bytes(found)


def _decompressed(sent: bytes, encoding: str) -> bytes:
    try:
        found = _unzipped(sent) if encoding == "gzip" else _unzstd(sent)
    except (zlib.error, zstandard.ZstdError, EOFError):
        raise Refusal(400, f"the body is not {encoding}, or ends early") from None
    if len(found) > LARGEST_BATCH_BYTES:
        raise _too_large()
    return found


def _unzipped(sent: bytes) -> bytes:
    """The content, up to one byte more than is taken."""
    found = b""
    members = 0
    while sent and len(found) <= LARGEST_BATCH_BYTES:
        members += 1
        if members > _MOST_MEMBERS:
            raise Refusal(400, f"the body has more than {_MOST_MEMBERS} gzip members")
        member = zlib.decompressobj(_GZIP)
        found += member.decompress(sent, LARGEST_BATCH_BYTES + 1 - len(found))
        if not member.eof and len(found) <= LARGEST_BATCH_BYTES:
            raise EOFError
        sent = member.unused_data
    return found


def _unzstd(sent: bytes) -> bytes:
    """The same of frames; in small steps, because none of them has a limit of its own."""
    found = bytearray()
    frames = 0
    at = 0
    while at < len(sent) and len(found) <= LARGEST_BATCH_BYTES:
        frames += 1
        if frames > _MOST_MEMBERS:
            raise Refusal(400, f"the body has more than {_MOST_MEMBERS} zstd frames")
        frame = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW).decompressobj()
        while not frame.eof and at < len(sent) and len(found) <= LARGEST_BATCH_BYTES:
            found += frame.decompress(sent[at : at + _STEP])
            at += _STEP
        at = min(at, len(sent)) - len(frame.unused_data)
        if not frame.eof and len(found) <= LARGEST_BATCH_BYTES:
            raise EOFError
    return bytes(found)


def _too_large() -> Refusal:
    return Refusal(413, f"a batch has at most {LARGEST_BATCH_BYTES:,} bytes, before and after decompression")
