"""What the checks of AI usage ask: are all events there, once, and counted."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from psycopg import sql

from analytics_pipeline.flows.ai_usage.sources import SOURCES
from analytics_pipeline.flows.daily_copy.ledger import between, copied_days, source_days
from analytics_pipeline.flows.daily_copy.source import DaySource, day_start, next_day
from analytics_pipeline.resources.clickhouse import ClickHouse, quoted
from analytics_pipeline.resources.postgres import Postgres

_FIGURES_OF = {"duo_chat_events": "chat", "code_suggestion_events": "code_suggestions"}


@dataclass(frozen=True)
class CountDifference:
    """A day of a table that does not hold what it should: rows expected and rows held."""

    table: str
    expected: int
    held: int


def missing_events(postgres: Postgres, clickhouse: ClickHouse, source: DaySource, day: date) -> list[CountDifference]:
    """Whether ClickHouse holds another number of events than the source accepts, as of the day's last copy.

    Rows that the source has got since are the next copy's, and no difference.
    """
    held = _events(clickhouse, source, day)
    with postgres.connect() as connection:
        copied = copied_days(connection, source, [day])
        if day not in copied:
            return [CountDifference(source.table, 0, held)] if held else []
        condition = sql.SQL("{} AND {} <= {}").format(
            between(source, day_start(day), day_start(next_day(day))),
            sql.SQL(source.changed),
            sql.Literal(copied[day][1].taken_at),
        )
        days = source_days(connection, postgres, source, condition)
    expected = sum(one.rows for one in days) - copied[day][0].refused
    return [CountDifference(source.table, expected, held)] if expected != held else []


def duplicate_events(clickhouse: ClickHouse, source: DaySource, day: date) -> int:
    """How many rows of the day a reader would see more than once."""
    repeated: int = clickhouse.scalar(
        f"SELECT count() - uniqExact(id) FROM {quoted(source.table)} FINAL WHERE toDate(timestamp) = {{day:Date}}",
        day=day,
    )
    return repeated


def uncounted_events(clickhouse: ClickHouse, day: date) -> list[CountDifference]:
    """Tables whose events of the day are not those that the daily figures add up to."""
    counted = dict(
        clickhouse.query(
            "SELECT feature, sum(occurrences) FROM ai_usage_daily WHERE date = {day:Date} GROUP BY feature", day=day
        )
    )
    held = {source.table: _events(clickhouse, source, day) for source in SOURCES}
    expected = {table: counted.get(feature, 0) for table, feature in _FIGURES_OF.items()}
    return [CountDifference(table, held[table], expected[table]) for table in held if held[table] != expected[table]]


def unrecorded_days(postgres: Postgres, days: Sequence[date]) -> list[tuple[date, str]]:
    """The days and ledgers that lack a record of them, of days that were materialised."""
    rows = postgres.query(_RECORDED, days=list(days), sources=[source.name for source in SOURCES])
    recorded = {(day, name) for day, name in rows}
    names = [*(source.name for source in SOURCES), "ai_usage_daily"]
    return [(day, name) for day in days for name in names if (day, name) not in recorded]


def _events(clickhouse: ClickHouse, source: DaySource, day: date) -> int:
    held: int = clickhouse.scalar(
        f"SELECT count() FROM {quoted(source.table)} FINAL WHERE toDate(timestamp) = {{day:Date}}", day=day
    )
    return held


_RECORDED = """
    SELECT day, source FROM analytics_pipeline.source_copies WHERE day = ANY(%(days)s) AND source = ANY(%(sources)s)
    UNION ALL
    SELECT day, 'ai_usage_daily' FROM analytics_pipeline.ai_usage_days WHERE day = ANY(%(days)s)
"""
