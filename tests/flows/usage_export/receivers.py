"""Receivers of the tests: they keep what arrives, and fail as they are told."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from analytics_pipeline.resources.sinks.base import Batch, Delivery, Refusal, Sink


@dataclass
class Receiver:
    """Keeps batches. `trouble` is asked before a batch is kept, `afterwards` when it is, before it is acknowledged."""

    name: str = "receiver"
    batches: list[Batch] = field(default_factory=list)
    refused: set[int] = field(default_factory=set)
    trouble: Callable[[Batch], None] = lambda _: None
    afterwards: Callable[[Batch], None] = lambda _: None
    is_closed: bool = False

    def check(self) -> None:
        """It would take anything."""

    def send(self, batch: Batch) -> Delivery:
        self.trouble(batch)
        self.batches.append(batch)
        self.afterwards(batch)
        return Delivery(len(batch.lines), tuple(Refusal(i, "no such form") for i in batch.ids if i in self.refused))

    def close(self) -> None:
        self.is_closed = True

    @property
    def keys(self) -> list[str]:
        """The batches' keys, in the order of arrival."""
        return [batch.key for batch in self.batches]

    @property
    def ids(self) -> list[int]:
        """The events' ids, in the order of arrival."""
        return [event_id for batch in self.batches for event_id in batch.ids]

    @property
    def records(self) -> list[dict[str, Any]]:
        """The records, in the order of arrival."""
        return records(self.batches)


@dataclass
class Between:
    """Passes batches on to a real sink; `afterwards` is asked when that has acknowledged."""

    name: str
    sink: Sink
    afterwards: Callable[[Batch], None]

    def check(self) -> None:
        self.sink.check()

    def send(self, batch: Batch) -> Delivery:
        delivery = self.sink.send(batch)
        self.afterwards(batch)
        return delivery

    def close(self) -> None:
        """The sink is its owner's."""


def records(batches: Sequence[Batch]) -> list[dict[str, Any]]:
    return [json.loads(line) for batch in batches for line in batch.lines.splitlines()]
