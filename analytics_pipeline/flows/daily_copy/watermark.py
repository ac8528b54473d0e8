"""Days of a source that have changed since they were copied.

Rows are found by when they changed, not by id: ids do not commit in order. A day counts when its rows are not those of
its last copy, so a lost tick, a failed run or a day that is looked at twice changes nothing. The watermark only bounds
how much is looked at; it never passes a change that may still commit, nor one that is not in ClickHouse yet.
"""

from collections.abc import Mapping
from datetime import date, datetime

from psycopg import sql

from analytics_pipeline.flows.daily_copy.changed import days_as_they_are
from analytics_pipeline.flows.daily_copy.ledger import SourceDay, copied_days, snapshot
from analytics_pipeline.flows.daily_copy.source import DaySource
from analytics_pipeline.flows.days import day_start, next_day
from analytics_pipeline.resources.postgres import Connection, Postgres


def touched_days(postgres: Postgres, source: DaySource, since: date, until: date) -> list[SourceDay]:
    """Those of the days, both ends inclusive, to copy again as the source holds them now, in order.

    Before anything was copied, changes count from the start of today (UTC).
    """
    with postgres.ledgers.connect() as ledger, postgres.connect() as connection:
        touched, _ = _look(ledger, connection, postgres, source, (since, until))
    return touched


def follow(postgres: Postgres, source: DaySource, since: date, until: date) -> list[SourceDay]:
    """`touched_days` from the first to the last partition; moves the watermark past what is in ClickHouse.

    With fewer days it would pass changes of the others. Days before `since` and after `until` are nobody's: no
    partition is theirs, and a row that claims to be of the year 2100 must hold nothing up.
    """
    with postgres.ledgers.connect() as ledger, postgres.connect() as connection:
        touched, passed = _look(ledger, connection, postgres, source, (since, until))
        ledger.execute(_ADVANCE, [source.name, passed])
    return touched


def _look(
    ledger: Connection, connection: Connection, postgres: Postgres, source: DaySource, between: tuple[date, date]
) -> tuple[list[SourceDay], datetime]:
    """The touched days, and the moment before which every change of these days is in ClickHouse."""
    now = snapshot(connection)
    passed = _watermark(ledger, source) or min(day_start(now.taken_at.date()), now.horizon)
    ledger.execute(_ADVANCE, [source.name, passed])  # what is copied from now on must not hide what commits meanwhile
    changes = _first_changes(connection, postgres, source, _horizons(ledger, source), passed, between)
    connection.commit()  # each question gives its lock on the relation back
    copied = copied_days(ledger, source, list(changes))
    days = days_as_they_are(connection, postgres, source, changes)
    touched = [day for day in days.values() if day.day not in copied or not copied[day.day][0].is_of(day)]
    waiting = [changes[day.day] for day in touched]
    return touched, max(passed, min([now.horizon, *waiting]))


def _watermark(ledger: Connection, source: DaySource) -> datetime | None:
    """Every change before it is in ClickHouse. At first: since the oldest copy."""
    row = ledger.execute(_WATERMARK, [source.name, source.name]).fetchone()
    return row[0] if row else None


def _horizons(ledger: Connection, source: DaySource) -> dict[date, datetime]:
    """The copied days, each with the moment before which its copy has every change."""
    return dict(ledger.execute(_HORIZONS, [source.name]).fetchall())


def _first_changes(
    connection: Connection,
    postgres: Postgres,
    source: DaySource,
    horizons: Mapping[date, datetime],
    passed: datetime,
    between: tuple[date, date],
) -> dict[date, datetime]:
    """The days, both ends inclusive, that changed after `passed`: each one's first change that its copy may lack."""
    statement = sql.SQL(_FIRST_CHANGES).format(
        day=sql.SQL(source.day),
        changed=sql.SQL(source.changed),
        change=source.change,
        relation=postgres.relation(source.relation),
    )
    parameters = {
        "days": list(horizons),
        "horizons": list(horizons.values()),
        "passed": passed,
        "since": day_start(between[0]),
        "until": day_start(next_day(between[1])),
    }
    return dict(connection.execute(statement, parameters).fetchall())


_WATERMARK = """
    SELECT coalesce(
        (SELECT passed FROM analytics_pipeline.watermarks WHERE source = %s),
        (SELECT min(horizon) FROM analytics_pipeline.source_copies WHERE source = %s)
    )
"""

_HORIZONS = "SELECT day, horizon FROM analytics_pipeline.source_copies WHERE source = %s"

_FIRST_CHANGES = """
    SELECT day, coalesce(min(changed) FILTER (WHERE changed >= copy.horizon), min(changed))
    FROM (
        SELECT {day}::date AS day, {changed}::timestamptz AS changed FROM {relation} AS source
        WHERE {changed} >= %(passed)s AND {change} IS NOT NULL AND {day} >= %(since)s AND {day} < %(until)s
    ) AS change
    LEFT JOIN unnest(%(days)s::date[], %(horizons)s::timestamptz[]) AS copy (day, horizon) USING (day)
    GROUP BY day
"""

_ADVANCE = """
    INSERT INTO analytics_pipeline.watermarks AS watermark (source, passed) VALUES (%s, %s)
    ON CONFLICT (source) DO UPDATE SET passed = greatest(watermark.passed, excluded.passed), updated_at = now()
"""
