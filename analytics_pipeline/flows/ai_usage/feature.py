"""How AI usage is switched on, how far its events reach back, and which days of it are complete."""

from collections.abc import Sequence
from datetime import date, datetime, timezone

from openfeature.client import OpenFeatureClient

from analytics_pipeline.flows.ai_usage.daily import FIGURES
from analytics_pipeline.flows.ai_usage.source import SOURCES
from analytics_pipeline.flows.daily_copy.ledger import SourceDay
from analytics_pipeline.flows.daily_copy.source import DaySource
from analytics_pipeline.flows.daily_copy.watermark import touched_days
from analytics_pipeline.flows.enablement.feature import Feature, Progress
from analytics_pipeline.resources.booleans import boolean
from analytics_pipeline.resources.feature_flags import is_enabled
from analytics_pipeline.resources.postgres import Postgres

FLAG = "ai_events_backfill_to_ch"
SCOPE = "instance"


def setting_is_on(postgres: Postgres) -> bool:
    """Whether the newest application settings say so, as they are now.

    Raises:
        UnreadableBoolean: they say neither.
    """
    rows = postgres.query(
        "SELECT use_clickhouse_for_analytics FROM {application_settings} ORDER BY id DESC LIMIT 1",
    )
    return bool(rows) and boolean(rows[0][0], "application_settings.use_clickhouse_for_analytics")


def switched_on(postgres: Postgres, flags: OpenFeatureClient) -> dict[str, str]:
    """The instance, when both the setting and the feature flag are on: scope to setting."""
    return {SCOPE: "on"} if setting_is_on(postgres) and is_enabled(flags, FLAG) else {}


def history(postgres: Postgres) -> tuple[date, date] | None:
    """From the first event's UTC day to today; None when there is no event."""
    ((first,),) = postgres.query(_FIRST_DAY)
    today = datetime.now(timezone.utc).date()
    return None if first is None or first > today else (first, today)


def complete_days(
    postgres: Postgres, days: Sequence[date], since: datetime, *, from_scratch: bool = False
) -> dict[date, int]:
    """The days whose events were copied after they had ended and counted after that, with how many events they have.

    A day that had not ended at `since`, or has changed since its copy, has to be copied after it; with `from_scratch`
    every day has to be.
    """
    if not days:
        return {}
    names = [source.name for source in SOURCES]
    changed = days if from_scratch else {one.day for source in SOURCES for one in _touched(postgres, source, days)}
    parameters = {"days": list(days), "sources": names, "needed": len(names), "changed": list(changed)}
    return dict(postgres.query(_COMPLETE_DAYS, since=since, **parameters))


def _touched(postgres: Postgres, source: DaySource, days: Sequence[date]) -> list[SourceDay]:
    return touched_days(postgres, source, days[0], days[-1])


# `least` ignores NULL: the first event of either. Whatever claims to be older or newer is no history: it may be no date
# of any calendar that Python knows.
_FIRST_DAY = """
    SELECT least(
        (SELECT min(timestamp) FROM {ai_duo_chat_events} WHERE timestamp >= '1990-01-01' AND timestamp < '2100-01-01'),
        (
            SELECT min(timestamp) FROM {ai_code_suggestion_events}
            WHERE timestamp >= '1990-01-01' AND timestamp < '2100-01-01'
        )
    )::date
"""

_COMPLETE_DAYS = """
    SELECT copy.day, sum(copy.rows)::bigint
    FROM analytics_pipeline.held_copies AS copy
    JOIN analytics_pipeline.held_ai_usage_days AS figures
        ON figures.day = copy.day AND figures.built_at >= copy.swapped_at
    WHERE copy.day = ANY(%(days)s) AND copy.source = ANY(%(sources)s) AND (
        copy.copied_at >= %(since)s
        OR (copy.day <> ALL(%(changed)s) AND copy.copied_at >= (copy.day + 1)::timestamp AT TIME ZONE 'UTC')
    )
    GROUP BY copy.day
    HAVING count(*) = %(needed)s
"""


AI_USAGE = Feature(
    name="ai_usage",
    assets=("duo_chat_events", "code_suggestion_events", "ai_usage_daily"),
    switched_on=switched_on,
    history=lambda postgres, _scope, _setting: history(postgres),
    progress=lambda postgres, epoch: Progress.of(
        complete_days(postgres, epoch.days, epoch.requested_at, from_scratch=epoch.from_scratch)
    ),
    tables=(*(source.held for source in SOURCES), FIGURES),
)
