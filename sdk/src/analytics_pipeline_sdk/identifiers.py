"""Ids and time stamps: UUIDv7 (RFC 9562) with the fraction of its millisecond, and UTC times in milliseconds."""

import os
import time

_VERSION_7, _VARIANT = 0x7 << 76, 0x2 << 62
_LOW_62 = (1 << 62) - 1


def uuid7(now_ns: int) -> str:
    """A new id whose order is that of `now_ns` (nanoseconds since 1970) to a quarter of a microsecond."""
    milliseconds, rest = divmod(now_ns, 1_000_000)
    random = int.from_bytes(os.urandom(8), "big") & _LOW_62
    text = f"{milliseconds << 80 | _VERSION_7 | (rest * 4096 // 1_000_000) << 64 | _VARIANT | random:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class UtcClock:
    """UTC time stamps such as `2026-11-27T12:00:00.123Z`; the part before the milliseconds is made once a second."""

    def __init__(self) -> None:
        self._last = (-1, "")

    def timestamp(self, now_ns: int) -> str:
        seconds, rest = divmod(now_ns, 1_000_000_000)
        known, text = self._last
        if known != seconds:
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
            self._last = (seconds, text)
        return f"{text}.{rest // 1_000_000:03d}Z"
