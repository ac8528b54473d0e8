"""Measures of each aggregate's day for the checks: in words of its table, and in words of the events.

The two sides share nothing with the statement that made the table, so that a fault in one shows.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """One number of an organisation's day: SQL over the rows of the table, and SQL over all events of that day."""

    name: str
    of_figures: str
    of_events: str


def _counts(types: Mapping[str, str]) -> tuple[Measure, ...]:
    """Events by type: column of the table to type of the events."""
    return tuple(
        Measure(column, f"sum({column})", f"countIf(event_type = '{type_}')") for column, type_ in types.items()
    )


def _distinct(column: str, state: str, of: str, types: tuple[str, ...]) -> tuple[Measure, ...]:
    """A distinct count of a table that has one row for the day, and the state behind it."""
    counted = f"length(arrayDistinct(groupArrayIf({of}, {of} IS NOT NULL AND event_type IN {types})))"
    return (Measure(column, f"sum({column})", counted), _merged(state, of, types))


def _merged(state: str, of: str, types: tuple[str, ...]) -> Measure:
    """The state alone, of a table that has several rows for the day."""
    counted = f"length(arrayDistinct(groupArrayIf({of}, {of} IS NOT NULL AND event_type IN {types})))"
    return Measure(state, f"uniqExactMerge({state})", counted)


def _total(column: str, of: str, type_: str) -> Measure:
    return Measure(column, f"sum({column})", f"sumIf(coalesce({of}, 0), event_type = '{type_}')")


_TASKS = {what: f"task_{what}" for what in ("created", "started", "completed", "failed", "cancelled")}
_INTEGRATIONS = {
    "connections": "integration_connected",
    "disconnections": "integration_disconnected",
    "uses": "integration_used",
    "errors": "integration_error",
}
_AUTH = {
    "login_attempts": "auth_login_attempt",
    "code_verifications": "auth_code_verified",
    "token_refreshes": "auth_token_refresh",
}
_COCOONS = {
    "registrations": "cocoon_registered",
    "connections": "cocoon_connected",
    "disconnections": "cocoon_disconnected",
    "claims": "cocoon_claimed",
}

_LATENCY = (
    *_counts({"request_count": "api_request"}),
    Measure(
        "error_4xx_count",
        "sum(error_4xx_count)",
        "countIf(event_type = 'api_request' AND intDiv(status_code, 100) = 4)",
    ),
    Measure(
        "error_5xx_count",
        "sum(error_5xx_count)",
        "countIf(event_type = 'api_request' AND intDiv(status_code, 100) >= 5)",
    ),
    Measure("durations", "sum(durations)", "countIf(event_type = 'api_request' AND isNotNull(duration_ms))"),
    _total("duration_ms_sum", "duration_ms", "api_request"),
)
_ERRORS = (
    *_counts({"error_count": "application_error"}),
    Measure("users", "uniqExactMerge(users)", "uniqExactIf(user_id, event_type = 'application_error')"),
)

MEASURES: Mapping[str, tuple[Measure, ...]] = {
    "analytics_daily_active_users": (
        Measure("total_events", "sum(total_events)", "count(user_id)"),
        Measure("active_users", "sum(active_users)", "count(DISTINCT user_id)"),
        Measure("users", "uniqExactMerge(users)", "count(DISTINCT user_id)"),
    ),
    "analytics_task_stats_daily": (
        *_counts(_TASKS),
        Measure("durations", "sum(durations)", "countIf(event_type = 'task_completed' AND isNotNull(duration_ms))"),
        _total("duration_ms_sum", "duration_ms", "task_completed"),
    ),
    "analytics_api_latency_hourly": _LATENCY,
    "analytics_api_latency_daily": _LATENCY,
    "analytics_integration_health_daily": (
        *_counts(_INTEGRATIONS),
        _merged("users", "user_id", tuple(_INTEGRATIONS.values())),
        Measure(
            "connected",
            "uniqExactMerge(connected)",
            "uniqExactIf(integration_id, event_type = 'integration_connected')",
        ),
    ),
    "analytics_auth_events_daily": (
        *_counts(_AUTH),
        Measure(
            "successful_logins",
            "sum(successful_logins)",
            "countIf(event_type = 'auth_login_attempt' AND success)",
        ),
        Measure("failed_logins", "sum(failed_logins)", "countIf(event_type = 'auth_login_attempt' AND NOT success)"),
        *_distinct("unique_users_authenticated", "users", "user_id", tuple(_AUTH.values())),
    ),
    "analytics_cocoon_activity_daily": (
        *_counts(_COCOONS),
        _total("session_seconds_sum", "duration_seconds", "cocoon_disconnected"),
        *_distinct("unique_cocoons", "cocoons", "cocoon_id", tuple(_COCOONS.values())),
        _merged("known", "cocoon_id", ("cocoon_registered", "cocoon_connected")),
    ),
    "analytics_errors_hourly": _ERRORS,
    "analytics_errors_daily": _ERRORS,
    "daily_event_counts": (Measure("events", "sum(events)", "count()"),),
}
