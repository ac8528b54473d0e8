"""Days of a source beside their copies: finds what no time stamp tells of, rows that were deleted or moved."""

from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta

from psycopg import sql

from analytics_pipeline.flows.daily_copy.ledger import DayState, SourceDay, between, copied_days, source_days
from analytics_pipeline.flows.daily_copy.source import DaySource
from analytics_pipeline.flows.days import contiguous, day_start, next_day
from analytics_pipeline.flows.held_days import note_losses
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.postgres import Connection, Postgres

_HOURS_OF_A_WEEK = 24 * 7


def days_as_they_are(
    connection: Connection, postgres: Postgres, source: DaySource, days: Collection[date]
) -> dict[date, SourceDay]:
    """Each of the days as the source holds it now, also the empty ones, in order."""
    if not days:
        return {}
    ranges = [between(source, day_start(first), day_start(next_day(last))) for first, last in contiguous([*days])]
    found = {one.day: one for one in source_days(connection, postgres, source, sql.SQL(" OR ").join(ranges))}
    return {day: found.get(day, SourceDay(day)) for day in sorted(days)}


def changed_days(postgres: Postgres, source: DaySource, days: Sequence[date]) -> set[date]:
    """Those of the days that were copied and are no longer what the copy holds."""
    with postgres.ledgers.connect() as ledger, postgres.connect() as connection:
        copied = copied_days(ledger, source, days)
        found = days_as_they_are(connection, postgres, source, copied)
    return {day for day, (state, _) in copied.items() if not state.is_of(found[day])}


def intact_days(
    postgres: Postgres, clickhouse: ClickHouse, source: DaySource, days: Sequence[date]
) -> dict[date, DayState]:
    """Those of the days that another copy would leave as they are.

    They were read after they had ended, ClickHouse still holds what their copy did, and so does the source.
    """
    note_losses(postgres, clickhouse, source.held, days)
    with postgres.ledgers.connect() as ledger, postgres.connect() as connection:
        copied = copied_days(ledger, source, days)
        whole = {day: state for day, (state, at) in copied.items() if at.taken_at >= day_start(next_day(day))}
        found = days_as_they_are(connection, postgres, source, whole)
    return {day: state for day, state in whole.items() if state.is_of(found[day])}


def days_in_turn(first: date, last: date, now: datetime) -> list[date]:
    """Those of the days, both ends inclusive, that are to be compared in this hour: each has its turn once a week.

    Whose turn it is follows from the hour, so that nothing has to be remembered. Ten years are 22 days an hour.
    """
    offset = (int(now.timestamp()) // 3600 - first.toordinal()) % _HOURS_OF_A_WEEK
    return [first + timedelta(days=number) for number in range(offset, (last - first).days + 1, _HOURS_OF_A_WEEK)]
