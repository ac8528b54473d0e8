"""Records of a segment: length and CRC-32 (little-endian, four bytes each), then the event's JSON."""

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from analytics_pipeline_sdk.protocol import LARGEST_BATCH_BYTES

_HEAD = struct.Struct("<II")
HEAD_BYTES = _HEAD.size


class Record(NamedTuple):
    """A record between two offsets; `payload` is None where the bytes are not what was written."""

    payload: bytes | None
    start: int
    end: int


def framed(payloads: Iterable[bytes]) -> bytes:
    """The payloads as they are written, one record each."""
    return b"".join([_HEAD.pack(len(payload), zlib.crc32(payload)) + payload for payload in payloads])


def parsed(data: bytes, base: int) -> Iterator[Record]:
    """The whole records that `data`, read at the offset `base`, begins with; it ends where no record can begin."""
    position = 0
    while (length := length_at(data, position)) is not None:
        end = position + HEAD_BYTES + length
        if end > len(data):
            return
        payload = data[position + HEAD_BYTES : end]
        whole = zlib.crc32(payload) == _HEAD.unpack_from(data, position)[1]
        yield Record(payload if whole else None, base + position, base + end)
        position = end


def length_at(data: bytes, position: int) -> int | None:
    """How long the payload of the record at the position is; None if no record begins there."""
    if position + HEAD_BYTES > len(data):
        return None
    length: int = _HEAD.unpack_from(data, position)[0]
    return length if 0 < length <= LARGEST_BATCH_BYTES else None
