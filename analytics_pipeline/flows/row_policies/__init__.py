"""Whose each row of ClickHouse is: the columns that name a tenant, and the conditions that hide the rows of others.

The read API sends the conditions with every statement (`additional_table_filters`); the users that production makes for
organisations have them as row policies.
"""

from collections.abc import Collection, Mapping
from typing import Literal, TypeAlias

Tenant: TypeAlias = Literal["organisation", "project", "account", "instance"]

_FIGURES_OF_EVENTS = (
    "analytics_daily_active_users",
    "analytics_task_stats_daily",
    "analytics_api_latency_hourly",
    "analytics_api_latency_daily",
    "analytics_integration_health_daily",
    "analytics_auth_events_daily",
    "analytics_cocoon_activity_daily",
    "analytics_errors_hourly",
    "analytics_errors_daily",
    "daily_event_counts",
)
# Relations by whose their rows are. Grants give a relation that is missing here to nobody; a condition could not hide
# its rows, so a test holds that none is missing.
TENANT_COLUMNS: Mapping[str, tuple[Tenant, str]] = {
    "identities": ("project", "project_id"),
    "segment_counts": ("organisation", "organisation_id"),
    "reporting_events": ("account", "account_id"),
    "reporting_rollups": ("account", "account_id"),
    "reporting_day_bounds": ("account", "account_id"),
    "duo_chat_events": ("instance", ""),
    "code_suggestion_events": ("instance", ""),
    "ai_usage_daily": ("instance", ""),
    "exported_events": ("instance", ""),
    "analytics_events": ("organisation", "organisation_id"),
    "analytics_event_ids": ("organisation", "organisation_id"),
    **dict.fromkeys(_FIGURES_OF_EVENTS, ("organisation", "organisation_id")),
}
# Reads compare the rows of days, of all tenants, with the ledgers before they answer for one: a condition would hide
# what they compare. Their statements name the tenant.
_COMPARED_AS_A_WHOLE = ("reporting_events", "reporting_rollups", "analytics_events", *_FIGURES_OF_EVENTS)
_NOTHING = "0"


def of_organisation(organisation: int, projects: Collection[int]) -> dict[str, str]:
    """For each relation, the condition that its rows are the organisation's, whose projects are these."""
    owned = ", ".join(str(int(project)) for project in sorted(projects))
    conditions: Mapping[Tenant, str] = {
        "organisation": f"{{column}} = {int(organisation)}",
        "project": f"{{column}} IN ({owned})" if owned else _NOTHING,
    }
    return {
        relation: conditions.get(tenant, _NOTHING).format(column=column)
        for relation, (tenant, column) in TENANT_COLUMNS.items()
    }


def of_account(account: int) -> dict[str, str]:
    """For each relation, the condition that its rows are the account's."""
    return {
        relation: f"{column} = {int(account)}" if tenant == "account" else _NOTHING
        for relation, (tenant, column) in TENANT_COLUMNS.items()
    }


def compared_as_a_whole(conditions: Mapping[str, str]) -> dict[str, str]:
    """The conditions without those that would hide what reads compare before they answer."""
    return {
        relation: one for relation, one in conditions.items() if relation not in _COMPARED_AS_A_WHOLE or one == _NOTHING
    }
