"""Ids and time stamps: UUIDv7 (RFC 9562) with the fraction of its millisecond, and UTC times in milliseconds."""

import os
import time


def uuid7(now_ns: int) -> str:
    """A new id, ordered by `now_ns` (nanoseconds since 1970) to a quarter of a microsecond, with 60 random bits."""
    milliseconds, rest = divmod(now_ns, 1_000_000)
    ordered = (milliseconds << 16 | 0x7000 | rest * 4096 // 1_000_000).to_bytes(8, "big").hex("-", 2)
    random = os.urandom(8).hex()
    return f"{ordered[:4]}{ordered[5:]}-8{random[1:4]}-{random[4:]}"


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
