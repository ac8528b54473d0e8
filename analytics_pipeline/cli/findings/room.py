"""Findings of `analytics-pipeline doctor` about what the guards before heavy work ask for."""

from collections.abc import Iterator

from analytics_pipeline.cli.findings.base import Finding
from analytics_pipeline.flows.guards import (
    Headroom,
    disk_trouble,
    headroom,
    lag_trouble,
    parts_trouble,
    replica_lag,
)
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.postgres import Postgres

_TABLES = "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree' ORDER BY name"
# All flows but the export, which writes little, and ingestion, which nothing may stop.
_WRITE = ("identities", "segments", "reporting", "ai_usage", "product_events")
_READ_MUCH = ("reporting", "ai_usage")


def room_findings(clickhouse: ClickHouse) -> Iterator[Finding]:
    """The table with the least free disk, and the one whose parts are nearest to their bound."""
    seen = headroom(clickhouse, *(table for (table,) in clickhouse.query(_TABLES)))
    if seen is None:
        repair = "GRANT SELECT ON system.disks, system.storage_policies, system.parts and system.merge_tree_settings"
        yield Finding("ClickHouse room", "may not be seen, so no guard looks at it", f"{repair} to our user")
    if seen:
        yield _disk(clickhouse, min(seen, key=lambda one: one.free_percent))
        yield _parts(clickhouse, max(seen, key=lambda one: one.parts_percent))


def _disk(clickhouse: ClickHouse, least: Headroom) -> Finding:
    if disk_trouble(clickhouse, least) is None:
        return Finding("ClickHouse disks", least.disk)
    bound = f"less than the {clickhouse.limits.free_disk_percent} % of GUARD_FREE_DISK_PERCENT"
    repair = "make room (docs/operators-guide.md, Retention), or lower the setting"
    return Finding("ClickHouse disks", f"{least.disk}, {bound}", repair, _WRITE)


def _parts(clickhouse: ClickHouse, most: Headroom) -> Finding:
    if parts_trouble(clickhouse, most) is None:
        return Finding("ClickHouse parts", most.partition)
    bound = f"more than the {clickhouse.limits.parts_percent} % of GUARD_PARTS_PERCENT"
    return Finding("ClickHouse parts", f"{most.partition}, {bound}", "wait for merges: look at system.merges", _WRITE)


def lag_findings(store: Postgres) -> Iterator[Finding]:
    """How far a replica of the source is behind, where there is one."""
    seconds = replica_lag(store)
    if seconds is None:
        return
    if lag_trouble(store, seconds) is None:
        yield Finding("Postgres replicas", f"are at most {seconds:,.0f} s behind")
    else:
        state = f"are {seconds:,.0f} s behind, more than the {store.lag_seconds} s of GUARD_REPLICA_LAG_SECONDS"
        yield Finding("Postgres replicas", state, "look at pg_stat_replication on the primary", _READ_MUCH)
