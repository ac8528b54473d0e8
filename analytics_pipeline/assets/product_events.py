"""Product events: what services send → `analytics_events` in ClickHouse."""

import dagster as dg

from analytics_pipeline.orchestration.flow_asset import OWNERS

analytics_events = dg.AssetSpec(
    key=dg.AssetKey("analytics_events"),
    group_name="product_events",
    kinds={"clickhouse"},
    owners=OWNERS,
    description="Events of product services, as ingestion takes them in.",
    metadata={"dagster/table_name": "analytics_events"},
)
