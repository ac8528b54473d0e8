"""Questions of the checks of AI usage: are all events there, once, and counted."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from psycopg import sql

from analytics_pipeline.flows.ai_usage.source import SOURCES
from analytics_pipeline.flows.audited import Audited
from analytics_pipeline.flows.daily_copy.ledger import (
    DayState,
    Snapshot,
    SourceDay,
    between,
    recorded_days,
    source_days,
)
from analytics_pipeline.flows.daily_copy.source import DaySource
from analytics_pipeline.flows.days import contiguous, day_start, next_day
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.names import quoted
from analytics_pipeline.resources.postgres import Connection, Postgres

_FIGURES_OF = {"duo_chat_events": "chat", "code_suggestion_events": "code_suggestions"}


@dataclass(frozen=True)
class CountDifference:
    """A day of a table that does not hold what it should: rows expected and rows held."""

    table: str
    expected: int
    held: int


def missing_events(
    postgres: Postgres, clickhouse: ClickHouse, source: DaySource, days: Sequence[date]
) -> Audited[dict[date, CountDifference]]:
    """Those of these neighbouring days of which ClickHouse holds more or fewer events than the source had accepted.

    Compared are the days that were ever copied. The source is seen as of each day's last copy: rows that it has got
    since are the next copy's, and no difference.
    """
    held = _events(clickhouse, source, days)
    with postgres.ledgers.connect() as ledger, postgres.connect() as connection:
        copied = recorded_days(ledger, source, days)
        found = {one.day: one.rows for one in _as_copied(connection, postgres, source, copied)}
    expected = {day: found.get(day, 0) - copy.refused for day, (copy, _) in copied.items()}
    different = {
        day: CountDifference(source.table, expected.get(day, 0), held.get(day, 0))
        for day in days
        if expected.get(day, 0) != held.get(day, 0)
    }
    return Audited(len(copied), different)


def _as_copied(
    connection: Connection, postgres: Postgres, source: DaySource, copied: Mapping[date, tuple[DayState, Snapshot]]
) -> Iterator[SourceDay]:
    """The copied days of the source without what has changed since; days that were read together are asked together."""
    by_moment: dict[datetime, list[date]] = {}
    for day, (_, at) in copied.items():
        by_moment.setdefault(at.taken_at, []).append(day)
    for moment, days in by_moment.items():
        for first, last in contiguous(days):
            condition = sql.SQL("{} AND {} <= {}").format(
                between(source, day_start(first), day_start(next_day(last))),
                sql.SQL(source.changed),
                sql.Literal(moment),
            )
            yield from source_days(connection, postgres, source, condition)
            connection.commit()  # each question gives its lock on the relation back


def duplicate_events(clickhouse: ClickHouse, source: DaySource, days: Sequence[date]) -> dict[date, int]:
    """How many rows of each of these neighbouring days a reader would see more than once; days with none are absent."""
    return dict(clickhouse.query(_DUPLICATES.format(table=quoted(source.table)), first=days[0], last=days[-1]))


def uncounted_events(
    postgres: Postgres, clickhouse: ClickHouse, days: Sequence[date]
) -> Audited[list[tuple[date, CountDifference]]]:
    """Tables whose events of these neighbouring days are not those that the daily figures add up to.

    Compared are the days that were ever counted; an empty one is an answer as well.
    """
    ((counted,),) = postgres.query(_COUNTED, days=list(days))
    figures = {
        (day, feature): count for day, feature, count in clickhouse.query(_FIGURES, first=days[0], last=days[-1])
    }
    held = {source.table: _events(clickhouse, source, days) for source in SOURCES}
    found = [
        (day, CountDifference(table, held[table].get(day, 0), figures.get((day, feature), 0)))
        for day in days
        for table, feature in _FIGURES_OF.items()
    ]
    return Audited(counted, [(day, difference) for day, difference in found if difference.held != difference.expected])


def unrecorded_days(postgres: Postgres, days: Sequence[date]) -> Audited[list[tuple[date, str]]]:
    """The days and ledgers that lack a record of them, of days that were materialised."""
    rows = postgres.query(_RECORDED, days=list(days), sources=[source.name for source in SOURCES])
    recorded = {(day, name) for day, name in rows}
    names = [*(source.name for source in SOURCES), "ai_usage_daily"]
    wanted = [(day, name) for day in days for name in names]
    return Audited(len(wanted), [one for one in wanted if one not in recorded])


def _events(clickhouse: ClickHouse, source: DaySource, days: Sequence[date]) -> dict[date, int]:
    return dict(clickhouse.query(_EVENTS.format(table=quoted(source.table)), first=days[0], last=days[-1]))


_COUNTED = "SELECT count(*) FROM analytics_pipeline.ai_usage_days WHERE day = ANY(%(days)s)"

_EVENTS = """
    SELECT toDate(timestamp) AS day, count() FROM {table} FINAL
    WHERE toDate(timestamp) BETWEEN {{first:Date}} AND {{last:Date}}
    GROUP BY day
"""

_FIGURES = """
    SELECT date, feature, sum(occurrences) FROM ai_usage_daily FINAL
    WHERE date BETWEEN {first:Date} AND {last:Date}
    GROUP BY date, feature
"""

# An id can be there twice only with another key; grouped by it, a large day goes on disk.
_DUPLICATES = """
    SELECT day, sum(seen - 1) FROM (
        SELECT toDate(timestamp) AS day, id, count() AS seen FROM {table} FINAL
        WHERE toDate(timestamp) BETWEEN {{first:Date}} AND {{last:Date}}
        GROUP BY day, id
        HAVING seen > 1
    )
    GROUP BY day
    SETTINGS max_bytes_before_external_group_by = 536870912
"""

_RECORDED = """
    SELECT day, source FROM analytics_pipeline.source_copies WHERE day = ANY(%(days)s) AND source = ANY(%(sources)s)
    UNION ALL
    SELECT day, 'ai_usage_daily' FROM analytics_pipeline.ai_usage_days WHERE day = ANY(%(days)s)
"""
