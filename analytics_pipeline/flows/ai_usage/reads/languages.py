"""Code suggestions by language."""

from dataclasses import dataclass

from analytics_pipeline.flows.ai_usage.reads import ACCEPTED, FROM, REJECTED, SETTINGS, SHOWN, Scope, parameters_of
from analytics_pipeline.resources.clickhouse.client import ClickHouse


@dataclass(frozen=True)
class LanguageUsage:
    """Code suggestions in a language, '' where it is unknown; `acceptance_rate` None when nothing was shown."""

    language: str
    contributors: int
    shown: int
    accepted: int
    rejected: int
    acceptance_rate: float | None


def languages(clickhouse: ClickHouse, scope: Scope) -> list[LanguageUsage]:
    """Every language of the scope, by its name."""
    rows = clickhouse.query(_LANGUAGES + SETTINGS, **parameters_of(scope))
    return [
        LanguageUsage(name, contributors, shown, accepted, rejected, accepted / shown if shown else None)
        for name, contributors, shown, accepted, rejected in rows
    ]


_LANGUAGES = f"""
    SELECT
        toString(language) AS name, uniqExact(user_id), sumIf(occurrences, event = '{SHOWN}'),
        sumIf(occurrences, event = '{ACCEPTED}'), sumIf(occurrences, event = '{REJECTED}')
    {FROM} AND event IN ('{SHOWN}', '{ACCEPTED}', '{REJECTED}')
    GROUP BY name ORDER BY name
"""
