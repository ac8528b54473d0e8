"""What every daily asset does around its flow: days one by one, skips, per-day metadata, failures with their repair."""

from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import Any, TypeAlias

import dagster as dg
from pydantic import Field

from analytics_pipeline.config import NotConfigured
from analytics_pipeline.flows.failures import reason_of
from analytics_pipeline.flows.tenants import Tenants
from analytics_pipeline.partitions import days_of
from analytics_pipeline.resources.clickhouse import Cost
from analytics_pipeline.resources.postgres import LeaseHeld

Materialisation: TypeAlias = dg.MaterializeResult[None] | dg.AssetMaterialization


class ProjectsConfig(dg.Config):
    """Narrows a run."""

    projects: list[int] | None = Field(default=None, description="Ids of the projects to work on; all when absent.")


def materialize_days(
    context: dg.AssetExecutionContext, work: Callable[[date], Mapping[str, Any]]
) -> Iterator[Materialisation]:
    """Do `work` for each day of the run and report its metadata on that day's partition.

    A store that is not configured, or a lease that another run holds, skips: nothing is materialised and nothing fails.
    Every day is tried; when some failed the others count as materialised, and the run fails with all reasons.
    """
    done: dict[date, Mapping[str, Any]] = {}
    failures: list[str] = []
    for day in days_of(context):
        try:
            done[day] = work(day)
        except (NotConfigured, LeaseHeld) as error:
            _report_skip(context, error)
            return
        except Exception as error:
            failures.append(f"{day}: {reason_of(error)}")
            context.log.error("%s failed", day, exc_info=True)
    if failures:
        for day, metadata in done.items():
            # Yielded, because what is only logged is lost with the exception.
            yield dg.AssetMaterialization(context.asset_key, partition=day.isoformat(), metadata=metadata)
        raise dg.Failure("\n".join(failures))
    for day, metadata in done.items():
        context.add_asset_metadata(metadata, asset_key=context.asset_key, partition_key=day.isoformat())
    yield dg.MaterializeResult()


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


def _report_skip(context: dg.AssetExecutionContext, error: NotConfigured | LeaseHeld) -> None:
    status = f"skipped: {error.reason if isinstance(error, NotConfigured) else 'lease_held'}"
    context.log.warning("%s (%s)", status, error)
    context.log_event(dg.AssetObservation(context.asset_key, metadata={"status": status, "detail": str(error)}))
