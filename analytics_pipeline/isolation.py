"""Work that many units share, so that one of them never takes the others' results away."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Done(Generic[T, R]):
    """Units whose work was done together, and its result."""

    units: Sequence[T]
    result: R


@dataclass(frozen=True)
class Culprit(Generic[T]):
    """A unit whose work fails also when it is done for this unit alone."""

    unit: T
    error: Exception


def isolated(
    units: Sequence[T], work: Callable[[Sequence[T]], R], blames: Callable[[Exception], bool]
) -> Iterator[Done[T, R] | Culprit[T]]:
    """Do the work for all units at once; when it fails, halve them until the culprits are alone.

    `work` must leave nothing behind when it raises. An error that `blames` no unit is raised, because smaller parts
    would only repeat it. No units are no work.
    """
    if not units:
        return
    try:
        result = work(units)
    except Exception as error:
        if not blames(error):
            raise
        if len(units) == 1:
            yield Culprit(units[0], error)
            return
        middle = len(units) // 2
        yield from isolated(units[:middle], work, blames)
        yield from isolated(units[middle:], work, blames)
    else:
        yield Done(units, result)
