"""Answers of audits: not only what is wrong, but how much was compared to find that."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T", bound=Collection[object], covariant=True)


@dataclass(frozen=True)
class Audited(Generic[T]):
    """How many things were compared, and what was found wrong with them. Of nothing compared nothing is known."""

    compared: int
    found: T
