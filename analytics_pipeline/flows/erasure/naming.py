"""Columns of our tables that can name a subject: the one list that `forget`, writers and the check work by.

A test holds that every table of both stores is in it, or among those that are left out with a reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from analytics_pipeline.flows.erasure.subjects import Kind

Columns = tuple[str, ...]


@dataclass(frozen=True)
class Named:
    """How a table names subjects; each column is an SQL expression.

    `rows` are the subject's own and go. In `blanked` columns the subject is one fact about a row of somebody else,
    which stays without it. `states` are sets of subjects, with the column that shows how many they are.
    """

    rows: Mapping[Kind, Columns] = field(default_factory=dict)
    blanked: Mapping[Kind, str] = field(default_factory=dict)
    states: Mapping[Kind, tuple[str, str]] = field(default_factory=dict)

    @property
    def kinds(self) -> frozenset[Kind]:
        return frozenset((*self.rows, *self.blanked, *self.states))


_ORGANISATION: Columns = ("organisation_id",)
_TENANT: Mapping[Kind, Columns] = {"organisation": _ORGANISATION, "project": ("project_id",)}
_USER: Mapping[Kind, Columns] = {"user": ("user_id",)}
_ACCOUNT: Mapping[Kind, Columns] = {"account": ("account_id",)}
_ROLLUPS = Named({**_ACCOUNT, "user": ("if(dimension_type = 'agent', dimension_id, NULL)",)})
_OF_ORGANISATION = Named({"organisation": _ORGANISATION})

CLICKHOUSE: Mapping[str, Named] = {
    "identities": Named(
        {
            "identity": ("environment_id", "identifier"),
            "environment": ("environment_id",),
            "project": ("project_id",),
        }
    ),
    "segment_counts": Named({**_TENANT, "environment": ("environment_key",)}),
    # The event of an agent is the account's, whose figures stay as they were.
    "reporting_events": Named(_ACCOUNT, blanked={"user": "user_id"}),
    "reporting_rollups": _ROLLUPS,
    "reporting_rollups_by_day": _ROLLUPS,
    "reporting_day_bounds": Named(_ACCOUNT),
    "reporting_day_bounds_by_day": Named(_ACCOUNT),
    "duo_chat_events": Named(_USER),
    "code_suggestion_events": Named(_USER),
    "ai_usage_daily": Named(_USER),
    "ai_usage_daily_by_day": Named(_USER),
    "exported_events": Named(_USER),
    # An event's id names no user, and it stays taken: who sends the event again is not given another answer.
    "analytics_event_ids": _OF_ORGANISATION,
    "analytics_events": Named({"organisation": _ORGANISATION, "event_user": ("user_id",)}),
    "analytics_daily_active_users": Named(
        {"organisation": _ORGANISATION}, states={"event_user": ("users", "active_users")}
    ),
    "analytics_integration_health_daily": Named(
        {"organisation": _ORGANISATION}, states={"event_user": ("users", "unique_users")}
    ),
    "analytics_auth_events_daily": Named(
        {"organisation": _ORGANISATION}, states={"event_user": ("users", "unique_users_authenticated")}
    ),
    "analytics_errors_hourly": Named(
        {"organisation": _ORGANISATION}, states={"event_user": ("users", "affected_users")}
    ),
    "analytics_errors_daily": Named(
        {"organisation": _ORGANISATION}, states={"event_user": ("users", "affected_users")}
    ),
    "analytics_task_stats_daily": _OF_ORGANISATION,
    "analytics_api_latency_hourly": _OF_ORGANISATION,
    "analytics_api_latency_daily": _OF_ORGANISATION,
    "analytics_cocoon_activity_daily": _OF_ORGANISATION,
    "daily_event_counts": _OF_ORGANISATION,
}

CLICKHOUSE_LEFT_OUT: Mapping[str, str] = {
    "schema_versions_pre": "which migrations were applied",
    "schema_versions_post": "which migrations were applied",
    "segment_counts_latest": "a view of segment_counts",
}

_SCOPE: Mapping[Kind, Columns] = {
    "account": ("substring(scope from '^account:(.*)$')",),
    "organisation": ("substring(scope from '^organisation:(.*)$')",),
}

# The last tables that are emptied are those by which an organisation's environments are known.
POSTGRES: Mapping[str, Named] = {
    "enablements": Named(_SCOPE),
    "api_tokens": Named({"organisation": _ORGANISATION, **_ACCOUNT}),
    "reporting_coverage": Named(_ACCOUNT),
    "segment_membership_counts": Named(_TENANT),
    "segment_refreshes": Named(_TENANT),
    "identity_loads": Named({**_TENANT, "environment": ("environment_key",)}),
}

_DAYS = "counts and moments of days, over all subjects"
_EXPORT = "ids of events and names of sinks"
POSTGRES_LEFT_OUT: Mapping[str, str] = {
    "alembic_version": "which migrations were applied",
    "ai_usage_days": _DAYS,
    "check_outcomes": "names of checks, days, and how many things they found",
    "dead_letters": "whole records: letters.py reads whom each names",
    "erased_rows": "how many rows went from where",
    "erasure_key": "the key of the hashes",
    "erasures": "hashes of who was forgotten",
    "event_logs_export_allowlist": "names of events",
    "event_logs_export_fields": "names of events and keys",
    "event_logs_export_past": _EXPORT,
    "event_logs_gaps": _EXPORT,
    "event_logs_scrape_state": _EXPORT,
    "export_deliveries": _EXPORT,
    "held_days": _DAYS,
    "product_event_days": _DAYS,
    "ingestion_totals": "numbers of verdicts",
    "source_copies": _DAYS,
    "watermarks": _DAYS,
}
