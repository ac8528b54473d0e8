"""Segments: how many identities of a day's snapshot are in each segment, for each environment."""

import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import dagster as dg

from analytics_pipeline.assets import sources
from analytics_pipeline.assets.identities import identity_snapshots
from analytics_pipeline.config import Settings
from analytics_pipeline.flows.charts import sparkline
from analytics_pipeline.flows.failures import Failure, PartialFailure, reason_and_place, reason_of
from analytics_pipeline.flows.guards import require_room
from analytics_pipeline.flows.identities.open_days import is_open
from analytics_pipeline.flows.segments.current import purge_others
from analytics_pipeline.flows.segments.ledger import RefreshLedger
from analytics_pipeline.flows.segments.refresh import CountRefresh, ProjectCounts
from analytics_pipeline.flows.segments.snapshot import why_lost
from analytics_pipeline.flows.segments.trends import DAYS, Trend, trends
from analytics_pipeline.flows.tenants import Project
from analytics_pipeline.orchestration.flow_asset import flow_asset
from analytics_pipeline.orchestration.materialisation import Materialisation, materialize_days, plan_held_days
from analytics_pipeline.orchestration.metadata import cost_metadata, table_metadata, tenants_metadata
from analytics_pipeline.orchestration.run_config import ProjectsConfig
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.configurable import ClickHouseResource, FeatureFlagsResource, PostgresResource
from analytics_pipeline.resources.postgres import LeaseHeld, Postgres

_SNAPSHOT = identity_snapshots.key
_SEGMENTS = sources.segments.key
_LINEAGE = {
    "date": [dg.TableColumnDep(_SNAPSHOT, "snapshot_date")],
    "project_id": [dg.TableColumnDep(_SNAPSHOT, "project_id")],
    "environment_key": [dg.TableColumnDep(_SNAPSHOT, "environment_id")],
    "segment_id": [dg.TableColumnDep(_SEGMENTS, "id")],
    "count": [
        dg.TableColumnDep(_SNAPSHOT, "traits"),
        dg.TableColumnDep(_SNAPSHOT, "identifier"),
        dg.TableColumnDep(_SNAPSHOT, "identity_key"),
        dg.TableColumnDep(_SEGMENTS, "rules"),
    ],
}


@flow_asset(
    "segments",
    kinds={"clickhouse", "postgres"},
    deps=[identity_snapshots, sources.segments],
    table="segment_counts",
    columns=_LINEAGE,
)
def segment_counts(
    context: dg.AssetExecutionContext,
    config: ProjectsConfig,
    clickhouse: ClickHouseResource,
    postgres: PostgresResource,
    flags: FeatureFlagsResource,
) -> Iterator[Materialisation]:
    """How many identities each live segment holds in each environment, counted from the day's snapshot in one pass.

    The history is the ClickHouse table `segment_counts`; the newest day's counts are in Postgres,
    `analytics_pipeline.segment_membership_counts`. A count of 0 is an answer; a segment that cannot be counted has no
    count but a status and a reason. Current counts of organisations that switched the feature off are removed.
    """

    def count(day: date) -> Mapping[str, Any]:
        store = postgres.store()
        with clickhouse.connect(Tag("segments", "count", run_id=context.run.run_id)) as warehouse:
            tenants = config.tenants(store, flags.client())
            warehouse.sweep_staging()
            ledger = RefreshLedger(store, day, context.run.run_id)
            refresh = CountRefresh(warehouse, store, ledger, is_open(day, Settings.load()))
            results, busy, failures = _refresh_each(context, refresh, tenants.projects)
            if busy and not results and not failures:
                raise LeaseHeld(f"another run is counting all {busy} projects and was left to it")
            gone = refresh.remove_gone(tenants, config.projects) if refresh.is_open else []
            purged = purge_others(store, day, [project.id for project in tenants.projects], config.projects)
            if failures:
                repair = f"materialise segment_counts of {day} again, with the run config `projects` narrowed to these"
                raise PartialFailure("Segment counts", failures, len(results), repair)
            cost = cost_metadata(warehouse.cost)
            metadata = _metadata(results) | {"projects_busy": busy, "current_counts_purged": purged}
            metadata |= {"projects_gone": len(gone)} | _decoration(context, warehouse, store, day)
        return metadata | tenants_metadata(tenants) | cost

    plan = plan_held_days(context, clickhouse, ["identities"])
    yield from plan if config.dry_run else materialize_days(context, count)


def _refresh_each(
    context: dg.AssetExecutionContext, refresh: CountRefresh, projects: tuple[Project, ...]
) -> tuple[list[ProjectCounts], int, list[Failure]]:
    """The refreshed projects, how many were left to another run that counts them now, and those that failed."""
    require_room(refresh.clickhouse, "segment_counts")
    results: list[ProjectCounts] = []
    failures: list[Failure] = []
    busy = 0
    done = refresh.ledger.completed() if context.retry_number else set()
    for project in projects:
        try:
            found = refresh.stored(project) if project.id in done else refresh.refresh(project)
        except LeaseHeld as error:
            busy += 1
            context.log.info("project %s: %s", project.id, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other projects go on
            context.log.warning("project %s failed: %s", project.id, reason_and_place(error))
            with refresh.postgres.ledgers.connect() as connection:
                refresh.ledger.fail(connection, project, reason_of(error))
            failures.append(Failure.of(f"project {project.id}", error))
        else:
            results.append(found)
            reason = why_lost(refresh.day)
            failures += [Failure(f"project {project.id}, environment {one.id}", reason) for one in found.lost]
    return results, busy, failures


def _decoration(context: dg.AssetExecutionContext, warehouse: ClickHouse, store: Postgres, day: date) -> dict[str, Any]:
    """A chart and the table's columns. The counts are stored already, so nothing here may fail the run."""
    try:
        chart = _chart(trends(warehouse, store, day))
        return {"counts_over_time": chart} | table_metadata(warehouse, "segment_counts")
    except Exception as error:  # noqa: BLE001
        context.log.warning("%s: the chart of the counts could not be made: %s", day, reason_and_place(error))
        return {}


def _chart(found: list[Trend]) -> dg.MetadataValue:
    """The largest segments over the last days, one bar a day."""
    rows = [f"| {_as_text(trend.name)} | {_shown(trend.counts[-1])} | `{sparkline(trend.counts)}` |" for trend in found]
    return dg.MetadataValue.md("\n".join([f"| segment | now | last {DAYS} days |", "|---|--:|---|", *rows]))


def _as_text(name: str) -> str:
    """The name in one cell of a Markdown table, as plain text: its users choose it."""
    return re.sub(r"([\\`*_{}\[\]()<>#+!|~&$:.-])", r"\\\1", " ".join(name.split()))


def _shown(count: int | None) -> str:
    return "–" if count is None else str(count)


def _metadata(results: list[ProjectCounts]) -> dict[str, Any]:
    counts = [count for result in results for count in result.counts]
    unknown = [count for count in counts if count.count is None]
    records = [
        dg.TableRecord({"segment": c.segment_id, "environment": c.environment.id, "reason": c.reason})
        for c in unknown[:100]
    ]
    return {
        "dagster/partition_row_count": len(counts),
        "counted": len([count for count in counts if count.status == "counted"]),
        "fallback": len([count for count in counts if count.status == "fallback"]),
        "unknown": len(unknown),
        **({"unknown_counts": dg.MetadataValue.table(records)} if records else {}),
    }
