"""Are the counts possible."""

from dataclasses import asdict
from datetime import date

import dagster as dg

from analytics_pipeline.assets.segments import segment_counts
from analytics_pipeline.checks.findings import Finding, check_days
from analytics_pipeline.flows.segments.audit import impossible_counts
from analytics_pipeline.resources.clickhouse import Tag
from analytics_pipeline.resources.configurable import ClickHouseResource

_TAG = Tag("segments", "check")


@dg.asset_check(asset=segment_counts)
def counts_within_identities(
    context: dg.AssetCheckExecutionContext, clickhouse: ClickHouseResource
) -> dg.AssetCheckResult:
    """No segment holds more identities than its environment's snapshot has."""

    def look(day: date) -> list[Finding]:
        with clickhouse.connect(_TAG) as warehouse:
            return [asdict(count) for count in impossible_counts(warehouse, day)]

    return check_days(context, look)
