"""chDB ends an Arrow stream after every block; a client expects one stream."""

import struct
from collections.abc import Iterable, Iterator

_CONTINUATION = b"\xff\xff\xff\xff"
_END = _CONTINUATION + b"\0\0\0\0"


def join_arrow_streams(streams: Iterable[bytes]) -> Iterator[bytes]:
    """Yields one stream: the schema of the first, the record batches of all, one end."""
    first = True
    for stream in streams:
        yield stream[0 if first else _schema_length(stream) :].removesuffix(_END)
        first = False
    yield _END


def _schema_length(stream: bytes) -> int:
    """Returns the length of the first message; a schema has metadata and no body."""
    (metadata,) = struct.unpack_from("<i", stream, len(_CONTINUATION))
    return len(_CONTINUATION) + 4 + int(metadata)
