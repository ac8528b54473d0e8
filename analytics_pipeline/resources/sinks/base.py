"""Sinks: where batches of exported records go, and what a receiver answers."""

from dataclasses import dataclass
from typing import Protocol

from analytics_pipeline.errors import Passing, Refused


@dataclass(frozen=True)
class Batch:
    """Records in the order of their ids: one JSON object a line, UTF-8, each line ended by a line feed.

    The same events make the same batch in each attempt: `key` names it, so that a receiver can drop repeats.
    """

    ids: tuple[int, ...]
    lines: bytes
    is_synthetic: bool = False

    @property
    def first_id(self) -> int:
        return self.ids[0]

    @property
    def last_id(self) -> int:
        return self.ids[-1]

    @property
    def key(self) -> str:
        return f"{self.first_id}-{self.last_id}"


@dataclass(frozen=True)
class Refusal:
    """A record that the receiver will never take; `reason` holds no value of the record."""

    event_log_id: int
    reason: str


@dataclass(frozen=True)
class Delivery:
    """The receiver has every record of the batch but the refused ones; `sent_bytes` went over the wire."""

    sent_bytes: int
    refused: tuple[Refusal, ...] = ()


class SinkRefused(Refused):
    """The receiver refuses all that we send (address, credentials, missing bucket): a person has to act."""


class SinkUnavailable(Passing):
    """The receiver took nothing for certain: the batch is sent again. `retry_after` is its wish in seconds, if any."""

    def __init__(self, text: str, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class Sink(Protocol):
    """A receiver of batches. It keeps its connection between batches and is closed by who opened it."""

    @property
    def name(self) -> str:
        """As in `EXPORT_SINKS`."""
        ...

    def check(self) -> None:
        """Asks the receiver whether it would take batches, without sending a record.

        Raises `SinkRefused` or `SinkUnavailable`, with the repair in the text.
        """
        ...

    def send(self, batch: Batch) -> Delivery:
        """Returns when the receiver has acknowledged. Sending a batch again harms nothing that the sink promises.

        Raises `SinkRefused` or `SinkUnavailable`; then records of the batch may or may not have arrived.
        """
        ...

    def close(self) -> None: ...
