"""Settings of a client; the values are checked once, when it is made."""

from dataclasses import dataclass
from typing import Literal, get_args

from analytics_pipeline_sdk.protocol import LARGEST_BATCH_BYTES

Durability = Literal["memory", "disk"]
Policy = Literal["drop_newest", "drop_oldest", "block"]
Fsync = Literal["never", "interval", "always"]
# Room in a batch for everything but its events.
ENVELOPE_BYTES = 2_048


@dataclass(frozen=True)
class Settings:
    """Bounds and waits of a client. Sizes are bytes of JSON, times are seconds.

    `policy` says what track() does when neither queue nor spool has room: refuse the new event, drop the oldest,
    or wait up to `block_deadline`. `spool_bytes` bounds the spool directory; 0 means no spool. `fsync` is about power
    cuts: a killed process loses nothing that was written. Raises ValueError for a value that makes no sense.
    """

    batch_events: int = 100
    batch_bytes: int = LARGEST_BATCH_BYTES
    flush_interval: float = 10.0
    queue_events: int = 10_000
    queue_bytes: int = 16 << 20
    policy: Policy = "drop_newest"
    block_deadline: float = 1.0
    backoff_min: float = 0.5
    backoff_max: float = 30.0
    request_timeout: float = 10.0
    spool_bytes: int = 256 << 20
    segment_bytes: int = 4 << 20
    fsync: Fsync = "never"
    exit_deadline: float = 2.0

    def __post_init__(self) -> None:
        for name, known in (("policy", Policy), ("fsync", Fsync)):
            if getattr(self, name) not in get_args(known):
                raise ValueError(f"{name} is one of {', '.join(get_args(known))}, not {getattr(self, name)!r}")
        small = [name for name in self.__dataclass_fields__ if _is_too_small(name, getattr(self, name))]
        if small:
            raise ValueError(f"these settings are too small: {', '.join(small)}")
        if self.batch_bytes > LARGEST_BATCH_BYTES:
            raise ValueError(f"batch_bytes is at most {LARGEST_BATCH_BYTES}")

    @property
    def event_bytes(self) -> int:
        """The largest event that fits a batch."""
        return self.batch_bytes - ENVELOPE_BYTES


def _is_too_small(name: str, value: object) -> bool:
    if not isinstance(value, int | float):
        return False
    if name == "batch_bytes":
        return value <= ENVELOPE_BYTES
    return value < 0 if name in ("spool_bytes", "block_deadline", "exit_deadline") else value <= 0
