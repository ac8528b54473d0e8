"""The aggregates of product events: a table each, the statement that makes its rows of events, and what it shows.

The statement makes what can be merged: counts, sums and states. What is derived from these for one row, such as a
mean, is for people who look at the table; readers merge first and derive afterwards, so that no mean or distinct count
is ever made of means or distinct counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from analytics_pipeline.flows.held_tables import MonthTable
from analytics_pipeline.resources.sql_files import sql_file

# A quantile is within this share of the duration at its rank, which is the lower one between two durations.
QUANTILE_ERROR = 0.01
QUANTILES = (0.5, 0.95, 0.99)
SKETCH = f"quantilesDDMerge({QUANTILE_ERROR}, {', '.join(map(str, QUANTILES))})"


@dataclass(frozen=True)
class Aggregate:
    """`columns` are those that the statement makes; `shown` maps columns for people to the SQL that derives them.

    `hourly`: the rows are of hours, which the key ends with.
    """

    name: str
    statement: str
    dimensions: tuple[str, ...]
    columns: tuple[str, ...]
    shown: Mapping[str, str] = field(default_factory=dict, hash=False)
    hourly: bool = False

    @property
    def table(self) -> MonthTable:
        return MonthTable(self.name, lease=self.name, key=self.key)

    @property
    def key(self) -> tuple[str, ...]:
        return ("organisation_id", *self.dimensions, "date", *(("hour",) if self.hourly else ()))

    @property
    def definition(self) -> str:
        """A short text that changes with the statement: figures of another one are computed anew while they can be."""
        return sha256(self.select("").encode()).hexdigest()[:12]

    def select(self, events: str) -> str:
        """A SELECT of the key and the columns from `events`, SQL of a relation like `analytics_events`."""
        return sql_file(__package__, self.statement, EVENTS=events)


def _mean(total: str, count: str) -> str:
    return f"if({count} = 0, NULL, {total} / {count})"


def _quantile(place: int) -> str:
    return f"if(durations = 0, NULL, finalizeAggregation(duration_sketch)[{place}])"


_DISTINCT = "finalizeAggregation({})"

DAILY_ACTIVE_USERS = Aggregate(
    "analytics_daily_active_users",
    "daily_active_users.sql",
    dimensions=(),
    columns=("total_events", "users"),
    shown={"active_users": _DISTINCT.format("users")},
)
TASK_STATS = Aggregate(
    "analytics_task_stats_daily",
    "task_stats.sql",
    dimensions=(),
    columns=(
        "created",
        "started",
        "completed",
        "failed",
        "cancelled",
        "durations",
        "duration_ms_sum",
        "duration_sketch",
    ),
    shown={"avg_duration_ms": _mean("duration_ms_sum", "durations"), "p95_duration_ms": _quantile(2)},
)
_LATENCY_COLUMNS = (
    "request_count",
    "error_4xx_count",
    "error_5xx_count",
    "durations",
    "duration_ms_sum",
    "duration_sketch",
)
_LATENCY_SHOWN = {
    "avg_duration_ms": _mean("duration_ms_sum", "durations"),
    "p50_duration_ms": _quantile(1),
    "p95_duration_ms": _quantile(2),
    "p99_duration_ms": _quantile(3),
}
API_LATENCY = Aggregate(
    "analytics_api_latency_hourly",
    "api_latency.sql",
    dimensions=("service", "endpoint", "method"),
    columns=_LATENCY_COLUMNS,
    shown=_LATENCY_SHOWN,
    hourly=True,
)
API_LATENCY_DAILY = Aggregate(
    "analytics_api_latency_daily",
    "api_latency_daily.sql",
    dimensions=("service", "endpoint", "method"),
    columns=_LATENCY_COLUMNS,
    shown=_LATENCY_SHOWN,
)
INTEGRATION_HEALTH = Aggregate(
    "analytics_integration_health_daily",
    "integration_health.sql",
    dimensions=("provider",),
    columns=("connections", "disconnections", "uses", "errors", "users", "connected"),
    shown={"unique_users": _DISTINCT.format("users")},
)
AUTH_EVENTS = Aggregate(
    "analytics_auth_events_daily",
    "auth_events.sql",
    dimensions=(),
    columns=(
        "login_attempts",
        "successful_logins",
        "failed_logins",
        "code_verifications",
        "token_refreshes",
        "users",
    ),
    shown={"unique_users_authenticated": _DISTINCT.format("users")},
)
COCOON_ACTIVITY = Aggregate(
    "analytics_cocoon_activity_daily",
    "cocoon_activity.sql",
    dimensions=(),
    columns=(
        "registrations",
        "connections",
        "disconnections",
        "claims",
        "sessions",
        "session_seconds_sum",
        "cocoons",
        "known",
    ),
    shown={
        "avg_session_duration_seconds": _mean("session_seconds_sum", "sessions"),
        "unique_cocoons": _DISTINCT.format("cocoons"),
    },
)
_ERROR_COLUMNS = ("error_count", "sample_error_message", "sampled_at", "users")
ERRORS = Aggregate(
    "analytics_errors_hourly",
    "errors.sql",
    dimensions=("service", "error_type"),
    columns=_ERROR_COLUMNS,
    shown={"affected_users": _DISTINCT.format("users")},
    hourly=True,
)
ERRORS_DAILY = Aggregate(
    "analytics_errors_daily",
    "errors_daily.sql",
    dimensions=("service", "error_type"),
    columns=_ERROR_COLUMNS,
    shown={"affected_users": _DISTINCT.format("users")},
)
EVENT_COUNTS = Aggregate(
    "daily_event_counts",
    "event_counts.sql",
    dimensions=("event_type", "name", "service"),
    columns=("events", "last_at"),
)

AGGREGATES: tuple[Aggregate, ...] = (
    DAILY_ACTIVE_USERS,
    TASK_STATS,
    API_LATENCY,
    API_LATENCY_DAILY,
    INTEGRATION_HEALTH,
    AUTH_EVENTS,
    COCOON_ACTIVITY,
    ERRORS,
    ERRORS_DAILY,
    EVENT_COUNTS,
)
