"""How each metric went over the last days, small enough to be seen at a glance."""

from dataclasses import dataclass
from datetime import date, timedelta

from analytics_pipeline.resources.clickhouse.client import ClickHouse

DAYS = 14


@dataclass(frozen=True)
class MetricTrend:
    """A metric's count over all accounts on each of the last days, the newest last, and its average seconds on it."""

    metric: str
    counts: tuple[int, ...]
    average: float | None


def trends(clickhouse: ClickHouse, last: date) -> list[MetricTrend]:
    """The metrics that have rows in the days up to `last`, by name."""
    rows = clickhouse.query(_TRENDS, last=last, days=DAYS)
    days = [last - timedelta(days=age) for age in reversed(range(DAYS))]
    return [
        MetricTrend(metric, tuple(dict(counts).get(day, 0) for day in days), average)
        for metric, counts, average in rows
    ]


_TRENDS = """
    SELECT
        metric,
        groupArray((date, total)),
        if(anyIf(seconds, date = {last:Date}) > 0, anyIf(seconds / total, date = {last:Date}), NULL)
    FROM (
        SELECT metric, date, sum(count) AS total, sum(sum_value) AS seconds
        FROM reporting_rollups FINAL
        WHERE date > {last:Date} - {days:UInt8} AND date <= {last:Date} AND dimension_type = 'account'
        GROUP BY metric, date
    )
    GROUP BY metric
    ORDER BY metric
"""
