"""Zeros that nobody knows: of a range none of whose days was brought in, an empty result says nothing."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

from analytics_pipeline.flows.reporting.reads.metrics import Number
from analytics_pipeline.flows.reporting.reads.periods import previous, whole
from analytics_pipeline.flows.reporting.reads.query import ReportQuery
from analytics_pipeline.flows.reporting.reads.reading import Answer
from analytics_pipeline.flows.reporting.reads.reports import Comparison, Point

REASON = "none of its days was brought in"
_INSTANT = timedelta(microseconds=1)
# They are read from the product itself, which lacks none.
_CONVERSATIONS = "conversations_count"


def is_unknown(value: float | None, answer: Answer[Any], since: datetime, until: datetime) -> bool:
    """Whether a value of events is of nothing, while every UTC day so far of its range is missing in the answer."""
    if value:
        return False
    now = datetime.now(timezone.utc)
    first, last = since.astimezone(timezone.utc).date(), (min(until, now) - _INSTANT).astimezone(timezone.utc).date()
    return any(start <= first and last <= end for start, end in answer.missing)


def known_comparison(answer: Answer[Comparison], query: ReportQuery) -> Comparison:
    """The figures now and before, None where they are unknown."""
    current = whole(query)
    before = previous(current)

    def known(values: Mapping[str, Number], since: datetime, until: datetime) -> dict[str, Number]:
        return {
            name: None if name != _CONVERSATIONS and is_unknown(value, answer, since, until) else value
            for name, value in values.items()
        }

    return Comparison(
        known(answer.value.current, current.since, current.until),
        known(answer.value.previous, before.since, before.until),
    )


def known_points(answer: Answer[list[Point]], query: ReportQuery) -> list[Point]:
    """The figures of the periods, None where they are unknown, and where there is nothing to average."""
    starts = [datetime.fromtimestamp(point.timestamp, timezone.utc) for point in answer.value]
    return [
        replace(point, value=None) if point.count == 0 or is_unknown(point.value, answer, start, end) else point
        for point, start, end in zip(answer.value, starts, [*starts[1:], query.until], strict=False)
    ]
