"""Integrations by provider: how they are used, and how often they fail."""

from dataclasses import dataclass
from datetime import date

from analytics_pipeline.flows.product_events.aggregates.tables import INTEGRATION_HEALTH
from analytics_pipeline.flows.product_events.reads.figures import Values, rate
from analytics_pipeline.flows.product_events.reads.query import EventQuery
from analytics_pipeline.flows.product_events.reads.reading import Answer, Reading


@dataclass(frozen=True)
class IntegrationHealth:
    """One provider's integrations. `error_rate` is errors / (uses + errors); None: neither a use nor an error."""

    provider: str
    connections: int
    disconnections: int
    uses: int
    errors: int
    unique_users: int
    error_rate: float | None


@dataclass(frozen=True)
class IntegrationsOfDay:
    """A UTC day's integrations of one provider."""

    day: date
    health: IntegrationHealth


def daily(reading: Reading, query: EventQuery) -> Answer[tuple[IntegrationsOfDay, ...]]:
    """Each day's providers that had events, the newest day first."""
    answer = reading.rows(INTEGRATION_HEALTH, query, _FIGURES.format(group="date", figures="{figures}"))
    return answer.of(tuple(IntegrationsOfDay(day, _health(values)) for day, *values in answer.value))


def by_provider(reading: Reading, query: EventQuery) -> Answer[tuple[IntegrationHealth, ...]]:
    """Each provider over the whole range; its users are distinct over the range."""
    answer = reading.rows(INTEGRATION_HEALTH, query, _FIGURES.format(group="0", figures="{figures}"))
    return answer.of(tuple(_health(values) for _, *values in answer.value))


def ever_connected(reading: Reading, query: EventQuery) -> Answer[int]:
    """Distinct integrations that were connected in the range; those disconnected since are among them."""
    answer = reading.rows(INTEGRATION_HEALTH, query, "SELECT uniqExactMerge(connected) FROM {figures}")
    return answer.of(answer.value[0][0])


def _health(values: Values) -> IntegrationHealth:
    provider, connections, disconnections, uses, errors, users = values
    return IntegrationHealth(provider, connections, disconnections, uses, errors, users, rate(errors, uses + errors))


_FIGURES = """
    SELECT
        {group} AS part, provider, sum(connections), sum(disconnections), sum(uses), sum(errors), uniqExactMerge(users)
    FROM {figures}
    GROUP BY part, provider
    ORDER BY part DESC, provider
"""
