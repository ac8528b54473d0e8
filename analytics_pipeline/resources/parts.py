"""Work that is cut to what its receiver takes at a time."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def parts(items: Sequence[T], size: Callable[[T], int], most_bytes: int, most_items: int) -> Iterator[list[T]]:
    """The items in order, in parts of at most so many bytes and items; one that is larger is alone."""
    part: list[T] = []
    total = 0
    for item in items:
        length = size(item)
        if part and (len(part) == most_items or total + length > most_bytes):
            yield part
            part, total = [], 0
        part.append(item)
        total += length
    if part:
        yield part
