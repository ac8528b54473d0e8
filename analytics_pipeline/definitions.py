"""Everything that Dagster sees, in one place."""

from collections.abc import Iterable, Sequence

import dagster as dg

from analytics_pipeline.assets import sources
from analytics_pipeline.assets.ai_usage import ai_usage_daily, code_suggestion_events, duo_chat_events
from analytics_pipeline.assets.identities import identity_snapshots, raw_identities
from analytics_pipeline.assets.reporting import reporting_events, reporting_rollups
from analytics_pipeline.assets.segments import segment_counts
from analytics_pipeline.checks.ai_usage import (
    chat_events_equal_source,
    figures_count_every_event_once,
    ledgers_know_every_day,
    suggestion_events_equal_source,
)
from analytics_pipeline.checks.identities import (
    every_environment_loaded,
    no_environment_emptied,
    snapshot_rows_equal_capture,
)
from analytics_pipeline.checks.reporting import (
    changes_are_followed,
    events_equal_source,
    no_impossible_rollups,
    no_uncovered_days,
    rollups_equal_events,
)
from analytics_pipeline.checks.segments import counts_agree_with_engine, counts_within_identities
from analytics_pipeline.config import Settings
from analytics_pipeline.orchestration import partitions
from analytics_pipeline.resources.configurable import (
    ClickHouseResource,
    DynamoDBResource,
    FeatureFlagsResource,
    LandingZoneResource,
    PostgresResource,
)
from analytics_pipeline.schedules.ai_usage import ai_usage_closed_days
from analytics_pipeline.schedules.reporting import reporting_closed_days, reporting_lag
from analytics_pipeline.schedules.segments import segments_closed_days
from analytics_pipeline.sensors.ai_usage import ai_usage_late_rows
from analytics_pipeline.sensors.enablement import enablement
from analytics_pipeline.sensors.failures import run_failures
from analytics_pipeline.sensors.reporting import reporting_late_rows
from analytics_pipeline.sensors.segments import segment_changes


@dg.definitions
def defs() -> dg.Definitions:
    """Assets by flow, on daily partitions; resources; one executor for all: a step's own process would cost seconds."""
    start = Settings.load().analytics_start_date
    daily_assets = [
        raw_identities,
        identity_snapshots,
        segment_counts,
        duo_chat_events,
        code_suggestion_events,
        ai_usage_daily,
    ]
    reporting_assets = [
        reporting_events,
        reporting_rollups,
    ]
    return dg.Definitions(
        assets=[
            sources.identity_documents,
            sources.environments,
            sources.segments,
            sources.accounts,
            sources.reporting_events,
            sources.ai_duo_chat_events,
            sources.ai_code_suggestion_events,
            *_partitioned(daily_assets, partitions.daily(start)),
            *_partitioned(reporting_assets, partitions.local_dates(start)),
        ],
        resources={
            "clickhouse": ClickHouseResource(),
            "postgres": PostgresResource(),
            "dynamodb": DynamoDBResource(),
            "landing": LandingZoneResource(),
            "flags": FeatureFlagsResource(),
        },
        asset_checks=[
            every_environment_loaded,
            snapshot_rows_equal_capture,
            no_environment_emptied,
            counts_within_identities,
            events_equal_source,
            changes_are_followed,
            rollups_equal_events,
            no_impossible_rollups,
            no_uncovered_days,
            counts_agree_with_engine,
            chat_events_equal_source,
            suggestion_events_equal_source,
            figures_count_every_event_once,
            ledgers_know_every_day,
        ],
        schedules=[
            segments_closed_days,
            reporting_closed_days,
            ai_usage_closed_days,
            reporting_lag,
        ],
        sensors=[
            enablement,
            run_failures,
            segment_changes,
            reporting_late_rows,
            ai_usage_late_rows,
        ],
        executor=dg.in_process_executor,
    )


def _partitioned(
    assets: Sequence[dg.AssetsDefinition], days: dg.DailyPartitionsDefinition
) -> Iterable[dg.AssetsDefinition]:
    return dg.map_asset_specs(lambda spec: spec.replace_attributes(partitions_def=days), assets)
