"""Batches taken apart: for a receiver that takes so much at a time, and around the records that it refuses."""

from collections.abc import Callable, Sequence

from analytics_pipeline.isolation import Culprit, isolated
from analytics_pipeline.resources.sinks.base import Batch, Delivery, Refusal


class ContentRefused(Exception):
    """The receiver works, and refuses what it was sent: one record or more of it. The reason holds no value of them."""


def records_of(batch: Batch) -> list[bytes]:
    """The records without their line feeds."""
    return batch.lines.split(b"\n")[:-1]


def of_at_most(batch: Batch, records: int) -> list[Batch]:
    """The batch in parts of at most so many records."""
    if len(batch.ids) <= records:
        return [batch]
    return [_part(batch, start, start + records) for start in range(0, len(batch.ids), records)]


def _part(batch: Batch, start: int, stop: int) -> Batch:
    lines = b"".join(line + b"\n" for line in records_of(batch)[start:stop])
    return Batch(batch.ids[start:stop], lines, batch.is_synthetic)


def around_refused(batch: Batch, deliver: Callable[[Batch], int]) -> Delivery:
    """Deliver the batch, in ever smaller parts where it is refused, until only single records are.

    `deliver` returns the bytes that it sent, or raises `ContentRefused`; whatever else it raises ends the delivery.
    """
    sent, refused = 0, list[Refusal]()

    def delivered(places: Sequence[int]) -> int:
        whole = len(places) == len(batch.ids)
        return deliver(batch if whole else _part(batch, places[0], places[-1] + 1))

    for one in isolated(range(len(batch.ids)), delivered, lambda error: isinstance(error, ContentRefused)):
        if isinstance(one, Culprit):
            refused.append(Refusal(batch.ids[one.unit], str(one.error)))
        else:
            sent += one.result
    return Delivery(sent, tuple(refused))
