"""Rows of the answers about an account's reports."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Value:
    """A figure over the whole range: a count, or an average in seconds.

    Null when there is nothing to average, or when none of its days was brought in: then `reason` says so.
    """

    metric: str
    value: int | float | None


@dataclass(frozen=True)
class PointRow:
    """A period's figure. Of averages, `count` is how many events it is of.

    An average of nothing is null, and so is a period none of whose days was brought in.
    """

    period: datetime
    value: int | float | None
    count: int | None


@dataclass(frozen=True)
class Compared:
    """A figure of the range and of the same time just before it; null as of a report."""

    metric: str
    current: int | float | None
    previous: int | float | None


@dataclass(frozen=True)
class SummaryRow:
    """An agent's, inbox's, team's or account's figures, and those of the same time just before; durations in seconds.

    An average of nothing is null, and so is what is of events when none of the days was brought in.
    """

    id: int
    conversations_count: int
    resolved_conversations_count: int | None
    avg_resolution_time: float | None
    avg_first_response_time: float | None
    avg_reply_time: float | None
    previous_conversations_count: int
    previous_resolved_conversations_count: int | None
    previous_avg_resolution_time: float | None
    previous_avg_first_response_time: float | None
    previous_avg_reply_time: float | None
