"""Zeros that nobody knows: of a range none of whose days was brought in, an empty result says nothing."""

from datetime import datetime, timedelta, timezone
from typing import Any

from analytics_pipeline.flows.reporting.reads.reading import Answer

REASON = "none of its days was brought in"
_INSTANT = timedelta(microseconds=1)


def is_unknown(value: float | None, answer: Answer[Any], since: datetime, until: datetime) -> bool:
    """Whether a value of events is of nothing, while every UTC day so far of its range is missing in the answer."""
    if value:
        return False
    now = datetime.now(timezone.utc)
    first, last = since.astimezone(timezone.utc).date(), (min(until, now) - _INSTANT).astimezone(timezone.utc).date()
    return any(start <= first and last <= end for start, end in answer.missing)
