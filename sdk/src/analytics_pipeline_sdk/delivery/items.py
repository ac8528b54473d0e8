"""Events in the hands of the sender."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from analytics_pipeline_sdk.spool.records import Record
from analytics_pipeline_sdk.spool.segment import Segment


@dataclass(eq=False, slots=True)
class Item:
    """An event: its JSON, and where it is on disk, if it is."""

    payload: bytes
    segment: Segment | None = None
    start: int = 0
    end: int = 0

    @classmethod
    def on_disk(cls, segment: Segment, record: Record) -> "Item":
        return cls(record.payload or b"", segment, record.start, record.end)


def on_disk(items: Iterable[Item]) -> dict[Segment, list[tuple[int, int]]]:
    """The places of those items that are on disk, by segment."""
    places: defaultdict[Segment, list[tuple[int, int]]] = defaultdict(list)
    for item in items:
        if item.segment is not None:
            places[item.segment].append((item.start, item.end))
    return places
