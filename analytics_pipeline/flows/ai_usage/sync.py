"""Which days of AI usage are not as they should be: changed at the source, copied but not counted, never copied."""

from dataclasses import dataclass
from datetime import date

from analytics_pipeline.flows.ai_usage.history import SCOPE, setting_is_on
from analytics_pipeline.flows.ai_usage.sources import SOURCES
from analytics_pipeline.flows.daily_copy.touched import touched_days
from analytics_pipeline.flows.enablement.ledger import EnablementLedger
from analytics_pipeline.resources.postgres import Postgres


@dataclass(frozen=True)
class Pending:
    """Days to be brought in anew, in order, and a text that differs whenever there is more to bring in."""

    days: list[date]
    state: str


def pending_days(postgres: Postgres, today: date, start: date) -> Pending | None:
    """What has to be brought in from `start` to `today`; moves the watermarks. None: nothing is being kept up to date.

    That is so when the feature is off, and while its history is being brought in: it has the days to itself.
    """
    epoch = EnablementLedger(postgres).newest("ai_usage").get(SCOPE)
    if epoch is None or epoch.closed_at is not None or epoch.state != "completed" or not setting_is_on(postgres):
        return None
    changed = [state for source in SOURCES for state in touched_days(postgres, source, start)]
    since = epoch.last_day or epoch.requested_at.date()
    days = {state.day for state in changed} | _uncounted(postgres) | _uncopied(postgres, since, today)
    return Pending(sorted(day for day in days if start <= day <= today), repr(changed))


def _uncounted(postgres: Postgres) -> set[date]:
    """The days that were copied after they were counted: a run died between the two."""
    rows = postgres.query(_UNCOUNTED, sources=[source.name for source in SOURCES])
    return {day for (day,) in rows}


def _uncopied(postgres: Postgres, first: date, last: date) -> set[date]:
    """The days that were never copied, though nothing may have happened then: an empty day is an answer as well."""
    names = [source.name for source in SOURCES]
    return {day for (day,) in postgres.query(_UNCOPIED, first=first, last=last, sources=names, needed=len(names))}


_UNCOUNTED = """
    SELECT DISTINCT copy.day
    FROM analytics_pipeline.source_copies AS copy
    LEFT JOIN analytics_pipeline.ai_usage_days AS figures ON figures.day = copy.day
    WHERE copy.source = ANY(%(sources)s) AND (figures.built_at IS NULL OR figures.built_at < copy.copied_at)
"""

_UNCOPIED = """
    SELECT series.day::date
    FROM generate_series(%(first)s::timestamp, %(last)s::timestamp, interval '1 day') AS series (day)
    LEFT JOIN analytics_pipeline.source_copies AS copy
        ON copy.day = series.day::date AND copy.source = ANY(%(sources)s)
    GROUP BY series.day
    HAVING count(copy.source) < %(needed)s
"""
