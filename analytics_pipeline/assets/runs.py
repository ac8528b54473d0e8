"""What every daily asset does around its flow: days one by one, skips, per-day metadata, failures with their repair."""

from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, timedelta, timezone
from typing import Any, TypeAlias

import dagster as dg
from pydantic import Field

from analytics_pipeline.config import NotConfigured, Settings
from analytics_pipeline.flows.failures import reason_of
from analytics_pipeline.flows.identities.capture import DayHasClosed, refuse_closed_day
from analytics_pipeline.flows.tenants import Tenants
from analytics_pipeline.partitions import days_of
from analytics_pipeline.resources.clickhouse import ClickHouse, Cost
from analytics_pipeline.resources.postgres import LeaseHeld

Materialisation: TypeAlias = dg.MaterializeResult[None] | dg.AssetMaterialization | dg.AssetObservation


class ProjectsConfig(dg.Config):
    """Narrows a run."""

    projects: list[int] | None = Field(
        default=None, min_length=1, description="Ids of the projects to work on; all when absent."
    )


def materialize_days(
    context: dg.AssetExecutionContext, work: Callable[[date], Mapping[str, Any]]
) -> Iterator[Materialisation]:
    """Do `work` for each day of the run and report its metadata on that day's partition.

    Every day is tried. A store that is not configured, or a lease that another run holds, skips the day: it is not
    materialised and nothing fails. When days failed, the run fails with all reasons and the others count as done.
    """
    done: dict[date, Mapping[str, Any]] = {}
    failures: list[str] = []
    days = days_of(context)
    for day in days:
        try:
            done[day] = work(day)
        except (NotConfigured, LeaseHeld) as error:
            yield _skip(context, day, error)
        except Exception as error:
            failures.append(f"{day}: {reason_of(error)}")
            context.log.error("%s failed", day, exc_info=True)
    if len(done) < len(days):
        # Day by day: a whole result would claim the other days as well.
        for day, metadata in done.items():
            yield dg.AssetMaterialization(context.asset_key, partition=day.isoformat(), metadata=metadata)
        if failures:
            raise dg.Failure("\n".join(failures))
        return
    for day, metadata in done.items():
        context.add_asset_metadata(metadata, asset_key=context.asset_key, partition_key=day.isoformat())
    yield dg.MaterializeResult()


def is_open(day: date) -> bool:
    """Whether the source's present still stands for the day, so that what has gone from it has gone from the day."""
    grace = timedelta(hours=Settings.load().identity_capture_grace_hours)
    try:
        refuse_closed_day(day, datetime.now(timezone.utc), grace)
    except DayHasClosed:
        return False
    return True


def table_metadata(clickhouse: ClickHouse, table: str) -> dict[str, Any]:
    """The table's columns as they are: names, types, and the comments that explain them."""
    rows = clickhouse.query(
        "SELECT name, type, comment FROM system.columns WHERE database = currentDatabase() AND table = {table:String}"
        " ORDER BY position",
        table=table,
    )
    columns = [dg.TableColumn(name, type_, comment or None) for name, type_, comment in rows]
    return {"dagster/column_schema": dg.TableSchema(columns)}


def cost_metadata(cost: Cost) -> dict[str, Any]:
    """What the work cost ClickHouse."""
    return {
        "clickhouse_statements": cost.statements,
        "clickhouse_read_rows": cost.read_rows,
        "clickhouse_read_bytes": cost.read_bytes,
        "clickhouse_written_rows": cost.written_rows,
        "clickhouse_written_bytes": cost.written_bytes,
        "clickhouse_seconds": round(cost.seconds, 3),
    }


def tenants_metadata(tenants: Tenants) -> dict[str, Any]:
    """Which projects were worked on, and why the others were skipped."""
    skipped = [
        dg.TableRecord({"project": s.project_id, "organisation": s.organisation_id, "reason": s.reason})
        for s in tenants.skipped
    ]
    return {
        "projects": len(tenants.projects),
        "projects_skipped": len(skipped),
        **({"skipped": dg.MetadataValue.table(skipped)} if skipped else {}),
    }


def _skip(context: dg.AssetExecutionContext, day: date, error: NotConfigured | LeaseHeld) -> dg.AssetObservation:
    status = f"skipped: {error.reason if isinstance(error, NotConfigured) else 'lease_held'}"
    context.log.warning("%s %s (%s)", day, status, error)
    metadata = {"status": status, "detail": str(error)}
    return dg.AssetObservation(context.asset_key, partition=day.isoformat(), metadata=metadata)
