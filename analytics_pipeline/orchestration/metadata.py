"""Metadata that the assets of several flows show: columns, cost, and the projects that were worked on."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from rich.filesize import decimal

from analytics_pipeline.flows.guards import headroom
from analytics_pipeline.flows.tenants import Tenants
from analytics_pipeline.resources.clickhouse.accounting import Cost
from analytics_pipeline.resources.clickhouse.client import ClickHouse


def table_metadata(clickhouse: ClickHouse, table: str) -> dict[str, Any]:
    """The table's columns as they are, with the comments that explain them, and the room that it has left."""
    rows = clickhouse.query(
        "SELECT name, type, comment FROM system.columns WHERE database = currentDatabase() AND table = {table:String}"
        " ORDER BY position",
        table=table,
    )
    columns = [dg.TableColumn(name, type_, comment or None) for name, type_, comment in rows]
    return {"dagster/column_schema": dg.TableSchema(columns), **_room_metadata(clickhouse, table)}


def _room_metadata(clickhouse: ClickHouse, table: str) -> dict[str, Any]:
    """The figures that the guards look at before the next run; nothing where our user may not see it."""
    seen = headroom(clickhouse, table)
    if not seen:
        return {}
    (found,) = seen
    room = {
        "room": f"{found.disk}; {found.partition}",
        "free_disk_percent": round(found.free_percent, 1),
        "parts_percent": round(found.parts_percent, 1),
    }
    return of_run(room)


def of_run(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The same by keys that say whose it is: what a run did for all of its days together is no single day's."""
    return {f"run_{key}": value for key, value in metadata.items()}


def cost_metadata(cost: Cost) -> dict[str, Any]:
    """The cost of the work in ClickHouse: in words, and in numbers that Dagster plots over partitions."""
    return {
        "clickhouse_cost": (
            f"{cost.statements:,} statements, {cost.seconds:,.1f} s:"
            f" {cost.read_rows:,} rows ({decimal(cost.read_bytes)}) read,"
            f" {cost.written_rows:,} rows ({decimal(cost.written_bytes)}) written"
        ),
        "clickhouse_statements": cost.statements,
        "clickhouse_read_rows": cost.read_rows,
        "clickhouse_read_bytes": cost.read_bytes,
        "clickhouse_written_rows": cost.written_rows,
        "clickhouse_written_bytes": cost.written_bytes,
        "clickhouse_seconds": round(cost.seconds, 3),
    }


def tenants_metadata(tenants: Tenants) -> dict[str, Any]:
    """The number of projects that were worked on, and the reason for each that was skipped."""
    skipped = [
        dg.TableRecord({"project": s.project_id, "organisation": s.organisation_id, "reason": s.reason})
        for s in tenants.skipped
    ]
    return {
        "projects": len(tenants.projects),
        "projects_skipped": len(skipped),
        **({"skipped": dg.MetadataValue.table(skipped)} if skipped else {}),
    }
