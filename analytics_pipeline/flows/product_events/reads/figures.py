"""Figures of days and of whole ranges, and numbers that are None when they are of nothing."""

from collections.abc import Callable, Sequence
from datetime import date
from math import isnan
from typing import Any, TypeAlias, TypeVar

from analytics_pipeline.flows.product_events.reads.query import EventQuery
from analytics_pipeline.flows.product_events.reads.reading import Answer, Row

T = TypeVar("T")
Values: TypeAlias = Sequence[Any]


def rate(part: int, of_all: int) -> float | None:
    """The share, from 0 to 1; None of nothing."""
    return part / of_all if of_all else None


def mean(total: float, count: int) -> float | None:
    return total / count if count else None


def quantiles(found: Sequence[float | None]) -> list[float | None]:
    """The median, the 95th and the 99th percentile; None of nothing."""
    return [None if one is None or isnan(one) else one for one in found]


def by_day(
    query: EventQuery, answer: Answer[list[Row]], made: Callable[[Values], T], of_nothing: T
) -> list[tuple[date, T | None]]:
    """Each day of the range with what is made of its row, whose first value is the day; the newest first.

    A day without a row is one of no event, unless nobody knows it: None.
    """
    found = {row[0]: made(row[1:]) for row in answer.value}
    return [(day, found.get(day, of_nothing) if answer.coverage.knows(day) else None) for day in reversed(query.days)]


def whole(query: EventQuery, answer: Answer[list[Row]], made: Callable[[list[Row]], T]) -> Answer[T | None]:
    """The value that is made of the rows of the whole range; None when nobody knows a single day of it."""
    is_known = any(answer.coverage.knows(day) for day in query.days)
    return answer.of(made(answer.value) if is_known else None)
