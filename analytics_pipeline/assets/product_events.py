"""Product events: what services send → `analytics_events` in ClickHouse, and its figures by day."""

from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from typing import Any

import dagster as dg
from pydantic import Field

from analytics_pipeline.config import Settings
from analytics_pipeline.flows.product_events.aggregates.build import Build, BuiltDay
from analytics_pipeline.flows.product_events.aggregates.tables import (
    API_LATENCY,
    API_LATENCY_DAILY,
    AUTH_EVENTS,
    COCOON_ACTIVITY,
    DAILY_ACTIVE_USERS,
    ERRORS,
    ERRORS_DAILY,
    EVENT_COUNTS,
    INTEGRATION_HEALTH,
    TASK_STATS,
    Aggregate,
)
from analytics_pipeline.flows.product_events.source import EVENTS
from analytics_pipeline.orchestration.flow_asset import OWNERS, flow_asset
from analytics_pipeline.orchestration.materialisation import Materialisation, materialize_range, plan_held_days
from analytics_pipeline.orchestration.metadata import cost_metadata, of_run, table_metadata
from analytics_pipeline.orchestration.run_config import DryRunConfig
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.configurable import ClickHouseResource, PostgresResource

_FLOW = "product_events"
_KEPT = "kept: the store holds fewer events than the figures are of, or may have begun to drop them"

analytics_events = dg.AssetSpec(
    key=dg.AssetKey("analytics_events"),
    group_name=_FLOW,
    kinds={"clickhouse"},
    owners=OWNERS,
    description="Events of product services, as ingestion takes them in.",
    metadata={"dagster/table_name": "analytics_events"},
)


class AggregateConfig(DryRunConfig):
    """How a run treats days whose events have gone."""

    even_if_fewer: bool = Field(
        default=False,
        description="Compute days also of which ClickHouse holds fewer events than their figures are of, or whose"
        " events expire: events were deleted on purpose. Figures of what is not there any more are lost.",
    )


def _aggregate(aggregate: Aggregate, of: Mapping[str, str], description: str) -> dg.AssetsDefinition:
    """The asset of one aggregate; `of` names the column of the events that each of its columns is made of."""

    def asset(
        context: dg.AssetExecutionContext,
        config: AggregateConfig,
        clickhouse: ClickHouseResource,
        postgres: PostgresResource,
    ) -> Iterator[Materialisation]:
        def compute(first: date, last: date) -> Mapping[date, Mapping[str, Any]]:
            run_id, retention = context.run.run_id, Settings.load().event_retention_days
            with clickhouse.connect(Tag(_FLOW, aggregate.name, run_id=run_id)) as warehouse:
                warehouse.sweep_staging()
                build = Build(aggregate, warehouse, postgres.store(), run_id, retention, config.even_if_fewer)
                built = build.build(first, last)
                told = of_run(cost_metadata(warehouse.cost)) | table_metadata(warehouse, aggregate.name)
            return {day: _metadata(one) | told for day, one in built.items()}

        plan = plan_held_days(context, clickhouse, [EVENTS])
        yield from plan if config.dry_run else materialize_range(context, compute)

    asset.__name__, asset.__doc__ = aggregate.name, description
    return _decorator(aggregate, of)(asset)


def _decorator(aggregate: Aggregate, of: Mapping[str, str]) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    dimensions = {name: name for name in ("organisation_id", *aggregate.dimensions)}
    times = {"date": "timestamp", **({"hour": "timestamp"} if aggregate.hourly else {})}
    lineage = {**dimensions, **times, **of}
    return flow_asset(
        _FLOW,
        kinds={"clickhouse"},
        deps=[analytics_events],
        table=aggregate.name,
        columns={column: [dg.TableColumnDep(analytics_events.key, source)] for column, source in lineage.items()},
        code_version=aggregate.definition,
        freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=4), warn_window=timedelta(hours=2)),
    )


def _metadata(built: BuiltDay) -> dict[str, Any]:
    if built.kept:
        return {"status": _KEPT}
    return {"dagster/partition_row_count": built.rows, "events": built.events}


analytics_daily_active_users = _aggregate(
    DAILY_ACTIVE_USERS,
    {"active_users": "user_id", "users": "user_id", "total_events": "event_id"},
    """Distinct users of the UTC day, and the events that have a user.

    The state of the users makes weeks, months and any other range exact: distinct users are merged, never added up.
    """,
)
analytics_task_stats_daily = _aggregate(
    TASK_STATS,
    {
        **dict.fromkeys(("created", "started", "completed", "failed", "cancelled"), "event_type"),
        **dict.fromkeys(("durations", "duration_ms_sum", "duration_sketch"), "duration_ms"),
        **dict.fromkeys(("avg_duration_ms", "p95_duration_ms"), "duration_ms"),
    },
    "Tasks of the UTC day by what happened to them, and how long completed ones took.",
)
_LATENCY = {
    "request_count": "event_id",
    **dict.fromkeys(("error_4xx_count", "error_5xx_count"), "status_code"),
    **dict.fromkeys(("durations", "duration_ms_sum", "duration_sketch", "avg_duration_ms"), "duration_ms"),
    **dict.fromkeys(("p50_duration_ms", "p95_duration_ms", "p99_duration_ms"), "duration_ms"),
}
analytics_api_latency_hourly = _aggregate(
    API_LATENCY,
    _LATENCY,
    "Requests to each endpoint in each hour of the UTC day: how many, how many failed, how long they took.",
)
analytics_api_latency_daily = _aggregate(
    API_LATENCY_DAILY,
    _LATENCY,
    "The same of the whole UTC day, from which ranges of days are merged.",
)
analytics_integration_health_daily = _aggregate(
    INTEGRATION_HEALTH,
    {
        **dict.fromkeys(("connections", "disconnections", "uses", "errors"), "event_type"),
        **dict.fromkeys(("unique_users", "users"), "user_id"),
        "connected": "integration_id",
    },
    "Each provider's integrations on the UTC day: connected, disconnected, used, in error, and by how many users.",
)
analytics_auth_events_daily = _aggregate(
    AUTH_EVENTS,
    {
        **dict.fromkeys(("login_attempts", "code_verifications", "token_refreshes"), "event_type"),
        **dict.fromkeys(("successful_logins", "failed_logins"), "success"),
        **dict.fromkeys(("unique_users_authenticated", "users"), "user_id"),
    },
    "Logins of the UTC day, which of them succeeded, and what follows them.",
)
analytics_cocoon_activity_daily = _aggregate(
    COCOON_ACTIVITY,
    {
        **dict.fromkeys(("registrations", "connections", "disconnections", "claims"), "event_type"),
        **dict.fromkeys(("sessions", "session_seconds_sum", "avg_session_duration_seconds"), "duration_seconds"),
        **dict.fromkeys(("unique_cocoons", "cocoons", "known"), "cocoon_id"),
    },
    "Cocoons of the UTC day by what they did, and how long their sessions took.",
)
_ERRORS = {
    "error_count": "event_id",
    **dict.fromkeys(("affected_users", "users"), "user_id"),
    "sample_error_message": "error_message",
    "sampled_at": "timestamp",
}
analytics_errors_hourly = _aggregate(
    ERRORS,
    _ERRORS,
    "Errors of each service and type in each hour of the UTC day, whom they hit, and the first one's message.",
)
analytics_errors_daily = _aggregate(
    ERRORS_DAILY,
    _ERRORS,
    "The same of the whole UTC day, from which ranges of days are merged.",
)
daily_event_counts = _aggregate(
    EVENT_COUNTS,
    {"events": "event_id", "last_at": "timestamp"},
    "All events of the UTC day by type and service; custom ones by their name as well.",
)

ALL = (
    analytics_daily_active_users,
    analytics_task_stats_daily,
    analytics_api_latency_hourly,
    analytics_api_latency_daily,
    analytics_integration_health_daily,
    analytics_auth_events_daily,
    analytics_cocoon_activity_daily,
    analytics_errors_hourly,
    analytics_errors_daily,
    daily_event_counts,
)
