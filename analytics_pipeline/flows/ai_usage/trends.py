"""How often each AI event happened on the last days, small enough to be seen at a glance."""

from dataclasses import dataclass
from datetime import date, timedelta

from analytics_pipeline.resources.clickhouse.client import ClickHouse

DAYS = 14


@dataclass(frozen=True)
class EventTrend:
    """An event's occurrences on each of the last UTC days, the newest last, and how many users caused it on that one.

    A day on which it did not happen counts 0; so does one that was never counted, which `reads.missing` tells apart.
    """

    event: str
    counts: tuple[int, ...]
    users: int


def trends(clickhouse: ClickHouse, last: date) -> list[EventTrend]:
    """The events that happened in the days up to `last`, by name."""
    rows = clickhouse.query(_TRENDS, last=last, days=DAYS)
    span = [last - timedelta(days=age) for age in reversed(range(DAYS))]
    return [EventTrend(event, tuple(dict(counts).get(day, 0) for day in span), users) for event, counts, users in rows]


_TRENDS = """
    SELECT event, groupArray((date, total)), maxIf(users, date = {last:Date})
    FROM (
        SELECT event, date, sum(occurrences) AS total, uniqExact(user_id) AS users
        FROM ai_usage_daily FINAL
        WHERE date > {last:Date} - {days:UInt8} AND date <= {last:Date}
        GROUP BY event, date
    )
    GROUP BY event
    ORDER BY event
"""
