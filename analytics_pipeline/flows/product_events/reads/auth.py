"""Logins, and what follows them."""

from dataclasses import dataclass
from datetime import date

from analytics_pipeline.flows.product_events.aggregates.tables import AUTH_EVENTS
from analytics_pipeline.flows.product_events.reads.figures import Values, by_day, rate, whole
from analytics_pipeline.flows.product_events.reads.query import EventQuery
from analytics_pipeline.flows.product_events.reads.reading import Answer, Reading


@dataclass(frozen=True)
class AuthStats:
    """Logins of a range. `login_success_rate` is successful logins / attempts; None: there was no attempt.

    `unique_users_authenticated` are the distinct users of attempts, verified codes and refreshed tokens, also of those
    that failed.
    """

    login_attempts: int
    successful_logins: int
    failed_logins: int
    code_verifications: int
    token_refreshes: int
    unique_users_authenticated: int
    login_success_rate: float | None


@dataclass(frozen=True)
class AuthOfDay:
    """A UTC day's logins; None: nobody knows them."""

    day: date
    stats: AuthStats | None


def daily(reading: Reading, query: EventQuery) -> Answer[tuple[AuthOfDay, ...]]:
    """Each day of the range, the newest first."""
    answer = reading.rows(AUTH_EVENTS, query, _FIGURES.format(group="date", figures="{figures}"))
    return answer.of(tuple(AuthOfDay(*one) for one in by_day(query, answer, _stats, _stats(_NONE))))


def summary(reading: Reading, query: EventQuery) -> Answer[AuthStats | None]:
    """The whole range; its users are distinct over the range. None: no day of it is known."""
    answer = reading.rows(AUTH_EVENTS, query, _FIGURES.format(group="0", figures="{figures}"))
    return whole(query, answer, lambda rows: _stats(rows[0][1:] if rows else _NONE))


def _stats(values: Values) -> AuthStats:
    attempts, successful, failed, verified, refreshed, users = values
    return AuthStats(attempts, successful, failed, verified, refreshed, users, rate(successful, attempts))


_NONE: Values = (0, 0, 0, 0, 0, 0)

_FIGURES = """
    SELECT
        {group} AS part, sum(login_attempts), sum(successful_logins), sum(failed_logins), sum(code_verifications),
        sum(token_refreshes), uniqExactMerge(users)
    FROM {figures}
    GROUP BY part
"""
