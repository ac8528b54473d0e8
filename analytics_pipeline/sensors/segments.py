"""Counts a project again when its segments change."""

from datetime import datetime, timezone
from itertools import groupby

import dagster as dg

from analytics_pipeline.config import NotConfigured
from analytics_pipeline.flows.segments.changes import changed_projects
from analytics_pipeline.flows.tenants import enabled_tenants
from analytics_pipeline.orchestration.ticks import settings_with_clickhouse
from analytics_pipeline.resources.feature_flags import feature_flags
from analytics_pipeline.resources.postgres import postgres

# Spreads a burst, such as an import of many projects' segments, over ticks.
PROJECTS_PER_TICK = 20
# A run that failed or was skipped is asked for again after this long.
RETRY_SECONDS = 600


@dg.sensor(
    target=dg.AssetSelection.assets("segment_counts"),
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Looks once a minute for projects whose segments are not those that were last counted, and has them"
    " counted again once they have been quiet for two minutes.",
)
def segment_changes(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Asks for new counts of the projects whose segments are not those that were last counted.

    Waits until a project's segments have been quiet for two minutes, and takes a bounded number of projects a tick. It
    compares the source with the ledger `segment_refreshes`, so a lost tick or cursor loses nothing.
    """
    try:
        settings = settings_with_clickhouse()
        store = postgres(settings)
        changed = changed_projects(store, enabled_tenants(store, feature_flags(settings, store)))
    except NotConfigured as error:
        return dg.SkipReason(f"skipped: {error.reason}")
    if not changed:
        return dg.SkipReason("the segments are those that were last counted")
    window = int(datetime.now(timezone.utc).timestamp()) // RETRY_SECONDS
    taken = sorted(changed[:PROJECTS_PER_TICK], key=lambda item: item.day)
    requests = []
    for day, group in groupby(taken, key=lambda item: item.day):
        items = list(group)
        fingerprint = "+".join(f"{item.project_id}:{item.fingerprint[:8]}" for item in items)
        requests.append(
            dg.RunRequest(
                run_key=f"{day}:{fingerprint}:{window}",
                partition_key=day.isoformat(),
                run_config={"ops": {"segment_counts": {"config": {"projects": [item.project_id for item in items]}}}},
            )
        )
    return dg.SensorResult(run_requests=requests)
