"""Batches taken apart: for a receiver that takes so much at a time, and around the records that it refuses."""

from collections.abc import Callable

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
    sent, refused, waiting = 0, list[Refusal](), [batch]
    while waiting:
        part = waiting.pop()
        try:
            sent += deliver(part)
        except ContentRefused as error:
            if len(part.ids) == 1:
                refused.append(Refusal(part.first_id, str(error)))
            else:
                first, second = of_at_most(part, (len(part.ids) + 1) // 2)
                # The first half is the next: records keep their order.
                waiting += [second, first]
    return Delivery(sent, tuple(refused))
