"""Everything that Dagster sees, in one place."""

import dagster as dg

from analytics_pipeline import partitions
from analytics_pipeline.assets import sources
from analytics_pipeline.assets.identities import identity_snapshots, raw_identities
from analytics_pipeline.assets.segments import segment_counts
from analytics_pipeline.checks.identities import (
    every_environment_loaded,
    no_environment_emptied,
    snapshot_rows_equal_capture,
)
from analytics_pipeline.checks.segments import counts_within_identities
from analytics_pipeline.config import Settings
from analytics_pipeline.resources.configurable import (
    ClickHouseResource,
    DynamoDBResource,
    FeatureFlagsResource,
    LandingZoneResource,
    PostgresResource,
)
from analytics_pipeline.schedules import daily_segment_counts
from analytics_pipeline.sensors.segments import segment_changes


@dg.definitions
def defs() -> dg.Definitions:
    """Assets by flow, on daily partitions; resources; one executor for all: a step's own process would cost seconds."""
    days = partitions.daily(Settings.load().analytics_start_date)
    daily_assets = [
        raw_identities,
        identity_snapshots,
        segment_counts,
    ]
    return dg.Definitions(
        assets=[
            sources.identity_documents,
            sources.environments,
            sources.segments,
            *dg.map_asset_specs(lambda spec: spec.replace_attributes(partitions_def=days), daily_assets),
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
        ],
        schedules=[
            daily_segment_counts,
        ],
        sensors=[
            segment_changes,
        ],
        executor=dg.in_process_executor,
    )
