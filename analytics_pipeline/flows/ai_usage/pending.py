"""Days of AI usage that lack something: changed at the source, never copied, copied before they were over, copied but
not counted, with rows that are no longer there, or lost by ClickHouse.
"""

from collections.abc import Collection
from datetime import date, datetime, timedelta

from analytics_pipeline.flows.ai_usage.daily import FIGURES
from analytics_pipeline.flows.ai_usage.feature import SCOPE, setting_is_on
from analytics_pipeline.flows.ai_usage.source import SOURCES
from analytics_pipeline.flows.daily_copy.changed import changed_days, days_in_turn
from analytics_pipeline.flows.daily_copy.watermark import follow
from analytics_pipeline.flows.enablement.epochs import Epoch
from analytics_pipeline.flows.enablement.ledger import EnablementLedger
from analytics_pipeline.flows.held_days import lost_at_rest, note_losses
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.postgres import Postgres

# Days further back that were read too early are an operator's decision.
LOOK_BACK = timedelta(days=7)


def pending_days(postgres: Postgres, clickhouse: ClickHouse, today: date, start: date) -> list[date] | str:
    """Days from `start` to `today` to bring in, in order; moves the watermarks. Text: why there are none to follow."""
    epoch = _followed(postgres)
    if isinstance(epoch, str):
        return epoch
    lost = lost_usage_days(postgres, clickhouse)
    changed = {day.day for source in SOURCES for day in follow(postgres, source, start, today)}
    since = epoch.last_day or epoch.requested_at.date()
    lacking = _uncopied(postgres, since, today) | _copied_early(postgres, max(since, today - LOOK_BACK), today)
    days = changed | lacking | lost | _uncounted(postgres)
    return sorted(day for day in days if start <= day <= today)


def changed_closed_days(postgres: Postgres, clickhouse: ClickHouse, now: datetime, start: date) -> list[date] | str:
    """Closed days, in order, with rows that were deleted, moved or changed unseen, or not held as recorded.

    Of the last seven, and of all older ones from `start` on those whose turn it is in this hour. Text: why there are
    none to follow.
    """
    epoch = _followed(postgres)
    if isinstance(epoch, str):
        return epoch
    recent = [now.date() - timedelta(days=number) for number in range(1, LOOK_BACK.days + 1)]
    older = days_in_turn(start, recent[-1] - timedelta(days=1), now)
    days = [day for day in (*older, *recent) if day >= start]
    lost = lost_usage_days(postgres, clickhouse, days).intersection(days)
    return sorted(lost.union(*(changed_days(postgres, source, days) for source in SOURCES)))


def lost_usage_days(postgres: Postgres, clickhouse: ClickHouse, thoroughly: Collection[date] = ()) -> set[date]:
    """The days of which ClickHouse does not hold the events or the figures as recorded, the newest few hundred.

    Of the days in `thoroughly` the contents are compared as well.
    """
    tables = [*(source.held for source in SOURCES), FIGURES]
    for table in tables:
        note_losses(postgres, clickhouse, table, thoroughly)
    return set[date]().union(*(lost_at_rest(postgres, table) for table in tables))


def _followed(postgres: Postgres) -> Epoch | str:
    """The newest epoch, when the events are to be kept up to date; else the reason why they are not.

    They are not when the setting is off, before any history was asked for, and while one is being brought in: it has
    the days to itself. One that was given up does not keep today's events out, nor does the feature flag, which is
    about the history alone.
    """
    epoch = EnablementLedger(postgres).newest("ai_usage").get(SCOPE)
    if not setting_is_on(postgres):
        return "AI usage is switched off"
    if epoch is None:
        return "no history of AI usage has been asked for yet"
    if epoch.closed_at is None and epoch.state in ("requested", "running"):
        return "AI usage is on, and its history is still being brought in"
    return epoch


def _uncounted(postgres: Postgres) -> set[date]:
    """The days that were copied after they were counted: a run died between the two."""
    rows = postgres.query(_UNCOUNTED, sources=[source.name for source in SOURCES])
    return {day for (day,) in rows}


def _copied_early(postgres: Postgres, first: date, today: date) -> set[date]:
    """The days before today that were read before they had ended: once more, for rows that claim to be older."""
    names = [source.name for source in SOURCES]
    return {day for (day,) in postgres.query(_COPIED_EARLY, first=first, today=today, sources=names)}


def _uncopied(postgres: Postgres, first: date, last: date) -> set[date]:
    """The days that were never copied, though nothing may have happened then: an empty day is an answer as well.

    From `first` on, or from the oldest copied day: one late row must not leave a hole before the others.
    """
    names = [source.name for source in SOURCES]
    return {day for (day,) in postgres.query(_UNCOPIED, first=first, last=last, sources=names, needed=len(names))}


_UNCOUNTED = """
    SELECT DISTINCT copy.day
    FROM analytics_pipeline.held_copies AS copy
    LEFT JOIN analytics_pipeline.held_ai_usage_days AS figures ON figures.day = copy.day
    WHERE copy.source = ANY(%(sources)s) AND (figures.built_at IS NULL OR figures.built_at < copy.swapped_at)
"""

_COPIED_EARLY = """
    SELECT day FROM analytics_pipeline.source_copies
    WHERE source = ANY(%(sources)s) AND day >= %(first)s AND day < %(today)s
        AND copied_at < (day + 1)::timestamp AT TIME ZONE 'UTC'
"""

_UNCOPIED = """
    SELECT series.day::date
    FROM generate_series(
        least(
            %(first)s::date, (SELECT min(day) FROM analytics_pipeline.source_copies WHERE source = ANY(%(sources)s))
        )::timestamp,
        %(last)s::timestamp, interval '1 day'
    ) AS series (day)
    LEFT JOIN analytics_pipeline.held_copies AS copy
        ON copy.day = series.day::date AND copy.source = ANY(%(sources)s)
    GROUP BY series.day
    HAVING count(copy.source) < %(needed)s
"""
