"""Errors of services: how many, whom they hit, and what the first of them said."""

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from analytics_pipeline.flows.product_events.aggregates.tables import ERRORS, ERRORS_DAILY
from analytics_pipeline.flows.product_events.reads.query import ASCENDING, DESCENDING, EventQuery, Order
from analytics_pipeline.flows.product_events.reads.reading import Answer, Reading, Row

MOST = 1_000


@dataclass(frozen=True)
class ErrorSummary:
    """Errors of one type in an hour or a range; the message is that of the first of them. Moments are of UTC."""

    service: str
    error_type: str
    error_count: int
    affected_users: int
    sample_error_message: str
    first_at: datetime


@dataclass(frozen=True)
class ErrorsOfHour:
    """`hour` is its first moment (UTC)."""

    hour: datetime
    errors: ErrorSummary


# The hour, how many, service and type: the key of a row and its place.
Place: TypeAlias = tuple[datetime, int, str, str]
_ORDER = Order(
    (
        ("part", "DateTime('UTC')", DESCENDING),
        ("errors", "UInt64", DESCENDING),
        ("service", "String", ASCENDING),
        ("error_type", "String", ASCENDING),
    )
)


def hourly(
    reading: Reading, query: EventQuery, *, limit: int = MOST, after: Place | None = None
) -> Answer[tuple[ErrorsOfHour, ...]]:
    """Each hour's errors by service and type, the newest hour first, in an hour the most frequent first.

    Only those after this place of the order.
    """
    wanted, place = _ORDER.after(after)
    select = _SELECT.format(group="hour", wanted=wanted, figures="{figures}")
    answer = reading.rows(ERRORS, query, select, limit=limit, **place)
    return answer.of(tuple(ErrorsOfHour(row[0], _summary(row)) for row in answer.value))


def summary(reading: Reading, query: EventQuery, *, limit: int = MOST) -> Answer[tuple[ErrorSummary, ...]]:
    """The range's errors by service and type, the most frequent first; users are distinct over the range."""
    select = _SELECT.format(group="0", wanted="true", figures="{figures}")
    answer = reading.rows(ERRORS_DAILY, query, select, limit=limit)
    return answer.of(tuple(_summary(row) for row in answer.value))


def _summary(row: Row) -> ErrorSummary:
    return ErrorSummary(*row[1:])


_SELECT = """
    SELECT
        {group} AS part, service, error_type, sum(error_count) AS errors, uniqExactMerge(users),
        argMin(sample_error_message, (sampled_at, sample_error_message)), min(sampled_at)
    FROM {figures}
    GROUP BY part, service, error_type
    HAVING {wanted}
    ORDER BY part DESC, errors DESC, service, error_type
    LIMIT {{{{limit:UInt32}}}}
"""
