"""Batches as messages of a broker: a record each, or as many as a message takes, in requests of what it allows."""

from collections.abc import Iterator
from dataclasses import dataclass

from analytics_pipeline.resources.clickhouse.limits import parts
from analytics_pipeline.resources.sinks.base import Batch, Refusal


@dataclass(frozen=True)
class Message:
    """The ids of its records, and its body: one JSON object, or NDJSON where it is packed."""

    ids: tuple[int, ...]
    body: bytes

    def __len__(self) -> int:
        return len(self.body)

    def singles(self) -> "list[Message]":
        """A message of each record."""
        return [Message((number,), body) for number, body in zip(self.ids, self.body.split(b"\n"), strict=True)]


@dataclass(frozen=True)
class Limits:
    """Of a broker: bytes of one message; bytes and messages of one request."""

    message_bytes: int
    request_bytes: int
    messages: int

    def messages_of(self, batch: Batch, *, is_packed: bool) -> tuple[list[Message], list[Refusal]]:
        """The messages in the order of the ids, and the records that are larger than a message."""
        records = Message(batch.ids, batch.lines[:-1]).singles()
        too_large = f"is larger than the {self.message_bytes:,} bytes of a message"
        refused = [Refusal(one.ids[0], too_large) for one in records if len(one) > self.message_bytes]
        fitting = [one for one in records if len(one) <= self.message_bytes]
        return [*self._packed(fitting)] if is_packed else fitting, refused

    def _packed(self, records: list[Message]) -> Iterator[Message]:
        # A line feed stands between records, not after the last: it fits with one byte more for each.
        for part in parts(records, lambda one: len(one) + 1, self.message_bytes + 1, len(records)):
            yield Message(tuple(one.ids[0] for one in part), b"\n".join(one.body for one in part))

    def requests(self, messages: list[Message]) -> Iterator[list[Message]]:
        """The messages in requests, in order."""
        return parts(messages, len, self.request_bytes, self.messages)
