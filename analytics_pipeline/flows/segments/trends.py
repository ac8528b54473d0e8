"""How segment counts went over the last days, small enough to be seen at a glance."""

from dataclasses import dataclass
from datetime import date, timedelta

from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.postgres import Postgres

DAYS = 14
SHOWN = 25


@dataclass(frozen=True)
class Trend:
    """A segment's count over all environments on each of the last days, the newest last; None is unknown."""

    segment_id: int
    name: str
    counts: tuple[int | None, ...]


def trends(clickhouse: ClickHouse, postgres: Postgres, day: date) -> list[Trend]:
    """The largest segments of `day` and their counts on the days up to it, largest first."""
    rows = clickhouse.query(
        """
        SELECT segment_id, groupArray((date, total))
        FROM (
            SELECT segment_id, date, if(countIf(count IS NULL) > 0, NULL, sum(count)) AS total
            FROM segment_counts FINAL
            WHERE date > {day:Date} - {days:UInt8} AND date <= {day:Date}
            GROUP BY segment_id, date
        )
        GROUP BY segment_id
        HAVING countIf(date = {day:Date}) > 0
        ORDER BY maxIf(total, date = {day:Date}) DESC NULLS LAST, segment_id
        LIMIT {shown:UInt16}
        SETTINGS do_not_merge_across_partitions_select_final = 1
        """,
        day=day,
        days=DAYS,
        shown=SHOWN,
    )
    ids = [segment for segment, _ in rows]
    names: dict[int, str] = dict(postgres.query("SELECT id, name FROM {segments} WHERE id = ANY(%(ids)s)", ids=ids))
    span = [day - timedelta(days=number) for number in reversed(range(DAYS))]
    return [
        Trend(segment, names.get(segment, f"segment {segment}"), tuple(dict(counts).get(then) for then in span))
        for segment, counts in rows
    ]
