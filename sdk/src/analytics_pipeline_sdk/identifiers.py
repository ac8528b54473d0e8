"""Ids and time stamps: UUIDv7 (RFC 9562) with the fraction of its millisecond, and UTC times in milliseconds."""

import os
import time

_VARIANT = "89ab"


def uuid7(now_ns: int) -> str:
    """A new id whose order is that of `now_ns` (nanoseconds since 1970) to a quarter of a microsecond."""
    milliseconds, rest = divmod(now_ns, 1_000_000)
    random = os.urandom(8)
    variant, chance = _VARIANT[random[0] & 3], random.hex()
    high, low, fraction = milliseconds >> 16, milliseconds & 0xFFFF, rest * 4096 // 1_000_000
    return f"{high:08x}-{low:04x}-7{fraction:03x}-{variant}{chance[1:4]}-{chance[4:]}"


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
