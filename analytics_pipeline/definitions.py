"""Everything that Dagster sees, in one place."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import dagster as dg

from analytics_pipeline.assets import sources
from analytics_pipeline.assets.ai_usage import ai_usage_daily, code_suggestion_events, duo_chat_events
from analytics_pipeline.assets.identities import identity_snapshots, raw_identities
from analytics_pipeline.assets.product_events import ALL as PRODUCT_EVENT_FIGURES
from analytics_pipeline.assets.product_events import analytics_events
from analytics_pipeline.assets.reporting import reporting_events, reporting_rollups
from analytics_pipeline.assets.segments import segment_counts
from analytics_pipeline.assets.usage_export import exported_events, usage_export
from analytics_pipeline.checks.ai_usage import NOTHING_LEFT as NOTHING_LEFT_OF_AI_USAGE
from analytics_pipeline.checks.ai_usage import (
    chat_events_equal_source,
    figures_count_every_event_once,
    ledgers_know_every_day,
    suggestion_events_equal_source,
)
from analytics_pipeline.checks.identities import NOTHING_LEFT as NOTHING_LEFT_OF_IDENTITIES
from analytics_pipeline.checks.identities import (
    captures_are_kept,
    every_environment_loaded,
    no_environment_emptied,
    snapshot_rows_equal_capture,
)
from analytics_pipeline.checks.product_events import (
    FIGURES_EQUAL_EVENTS,
    clocks_agree,
    few_events_refused,
    no_event_lost,
    no_event_twice,
    retention_holds,
)
from analytics_pipeline.checks.product_events import NOTHING_LEFT as NOTHING_LEFT_OF_PRODUCT_EVENTS
from analytics_pipeline.checks.reporting import NOTHING_LEFT as NOTHING_LEFT_OF_REPORTING
from analytics_pipeline.checks.reporting import (
    changes_are_followed,
    events_equal_source,
    no_impossible_rollups,
    no_uncovered_days,
    rollups_equal_events,
)
from analytics_pipeline.checks.segments import NOTHING_LEFT as NOTHING_LEFT_OF_SEGMENTS
from analytics_pipeline.checks.segments import counts_agree_with_engine, counts_are_stored, counts_within_identities
from analytics_pipeline.checks.usage_export import NOTHING_LEFT as NOTHING_LEFT_OF_USAGE_EXPORT
from analytics_pipeline.checks.usage_export import (
    bookmarks_are_in_the_log,
    clickhouse_holds_what_it_acknowledged,
    no_dead_letters,
    nothing_waits_too_long,
)
from analytics_pipeline.config import FlowName, Settings
from analytics_pipeline.orchestration import partitions
from analytics_pipeline.orchestration.dashboard import linked
from analytics_pipeline.resources.configurable import (
    ClickHouseResource,
    DynamoDBResource,
    FeatureFlagsResource,
    LandingZoneResource,
    PostgresResource,
)
from analytics_pipeline.schedules.ai_usage import ai_usage_closed_days
from analytics_pipeline.schedules.product_events import hourly_product_events
from analytics_pipeline.schedules.reporting import reporting_closed_days, reporting_lag
from analytics_pipeline.schedules.retention import daily_retention
from analytics_pipeline.schedules.segments import segments_closed_days
from analytics_pipeline.sensors import enablement
from analytics_pipeline.sensors.ai_usage import ai_usage_late_rows
from analytics_pipeline.sensors.failures import run_failures
from analytics_pipeline.sensors.reporting import reporting_late_rows
from analytics_pipeline.sensors.segments import segment_changes
from analytics_pipeline.sensors.usage_export import usage_export_of


@dataclass(frozen=True)
class _Flow:
    """One flow as Dagster sees it; `days` makes its partitions from the first day, None: it has none.

    `stores` are tables that its assets fill and that have no run of their own. `looks` makes a sensor of the settings.
    """

    days: Callable[[date], dg.DailyPartitionsDefinition] | None
    assets: Sequence[dg.AssetsDefinition]
    checks: Sequence[dg.AssetChecksDefinition]
    schedules: Sequence[dg.ScheduleDefinition] = ()
    sensors: Sequence[dg.SensorDefinition] = ()
    stores: Sequence[dg.AssetSpec] = ()
    looks: Sequence[Callable[[Settings], dg.SensorDefinition]] = ()


_FLOWS: Mapping[FlowName, _Flow] = {
    "identities": _Flow(
        days=partitions.daily,
        assets=(
            raw_identities,
            identity_snapshots,
        ),
        checks=(
            every_environment_loaded,
            snapshot_rows_equal_capture,
            no_environment_emptied,
            captures_are_kept,
            NOTHING_LEFT_OF_IDENTITIES,
        ),
    ),
    "segments": _Flow(
        days=partitions.daily,
        assets=(segment_counts,),
        checks=(counts_within_identities, counts_are_stored, counts_agree_with_engine, NOTHING_LEFT_OF_SEGMENTS),
        schedules=(segments_closed_days,),
        sensors=(segment_changes,),
    ),
    "reporting": _Flow(
        days=partitions.local_dates,
        assets=(reporting_events, reporting_rollups),
        checks=(
            events_equal_source,
            changes_are_followed,
            rollups_equal_events,
            no_impossible_rollups,
            no_uncovered_days,
            NOTHING_LEFT_OF_REPORTING,
        ),
        schedules=(reporting_closed_days, reporting_lag),
        sensors=(reporting_late_rows,),
    ),
    "ai_usage": _Flow(
        days=partitions.daily,
        assets=(duo_chat_events, code_suggestion_events, ai_usage_daily),
        checks=(
            chat_events_equal_source,
            suggestion_events_equal_source,
            figures_count_every_event_once,
            ledgers_know_every_day,
            NOTHING_LEFT_OF_AI_USAGE,
        ),
        schedules=(ai_usage_closed_days,),
        sensors=(ai_usage_late_rows,),
    ),
    "usage_export": _Flow(
        days=None,
        assets=(usage_export,),
        checks=(
            nothing_waits_too_long,
            bookmarks_are_in_the_log,
            no_dead_letters,
            clickhouse_holds_what_it_acknowledged,
            NOTHING_LEFT_OF_USAGE_EXPORT,
        ),
        looks=(lambda settings: usage_export_of(settings.export_usage_data_interval_seconds),),
        stores=(exported_events,),
    ),
    "product_events": _Flow(
        days=partitions.daily,
        assets=PRODUCT_EVENT_FIGURES,
        checks=(
            *FIGURES_EQUAL_EVENTS,
            no_event_twice,
            no_event_lost,
            retention_holds,
            clocks_agree,
            few_events_refused,
            NOTHING_LEFT_OF_PRODUCT_EVENTS,
        ),
        schedules=(hourly_product_events,),
        stores=(analytics_events,),
    ),
}


@dg.definitions
def defs() -> dg.Definitions:
    """The flows that are wanted (FLOWS), on daily partitions; resources; one executor: a step's own process is slow."""
    settings = Settings.load()
    flows = [_FLOWS[name] for name in settings.flows]
    assets = [
        asset
        for name, flow in zip(settings.flows, flows, strict=True)
        for asset in (_partitioned(flow.assets, flow.days(settings.start_of(name))) if flow.days else flow.assets)
    ]
    checks = [check for flow in flows for check in flow.checks]
    stores = [store for flow in flows for store in flow.stores]
    return dg.Definitions(
        assets=linked([*_sources_of(assets), *assets, *stores], settings.dashboard_url),
        resources={
            "clickhouse": ClickHouseResource(),
            "postgres": PostgresResource(),
            "dynamodb": DynamoDBResource(),
            "landing": LandingZoneResource(),
            "flags": FeatureFlagsResource(),
        },
        asset_checks=checks,
        schedules=[daily_retention(checks), *(schedule for flow in flows for schedule in flow.schedules)],
        sensors=[
            *enablement.sensors_of(settings.flows),
            run_failures,
            *(sensor for flow in flows for sensor in flow.sensors),
            *(look(settings) for flow in flows for look in flow.looks),
        ],
        executor=dg.in_process_executor,
    )


def _partitioned(
    assets: Sequence[dg.AssetsDefinition], days: dg.DailyPartitionsDefinition
) -> Iterable[dg.AssetsDefinition]:
    return dg.map_asset_specs(lambda spec: spec.replace_attributes(partitions_def=days), assets)


def _sources_of(assets: Sequence[dg.AssetsDefinition]) -> list[dg.AssetSpec]:
    """The product's own data, as far as the assets read them."""
    read = {key for asset in assets for key in asset.dependency_keys}
    return [source for source in sources.ALL if source.key in read]
