"""Segments: how many identities of a day's snapshot are in each segment, for each environment."""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import dagster as dg

from analytics_pipeline.assets import sources
from analytics_pipeline.assets.identities import OWNERS, identity_snapshots
from analytics_pipeline.assets.runs import (
    Materialisation,
    ProjectsConfig,
    cost_metadata,
    materialize_days,
    tenants_metadata,
)
from analytics_pipeline.flows.failures import Failure, PartialFailure, reason_of
from analytics_pipeline.flows.segments.ledger import RefreshLedger
from analytics_pipeline.flows.segments.refresh import CountRefresh, ProjectCounts, purge_disabled
from analytics_pipeline.flows.tenants import Project, enabled_tenants
from analytics_pipeline.resources.clickhouse import Tag
from analytics_pipeline.resources.configurable import ClickHouseResource, FeatureFlagsResource, PostgresResource


@dg.asset(
    group_name="segments",
    kinds={"clickhouse", "postgres"},
    owners=OWNERS,
    deps=[identity_snapshots, sources.segments],
    backfill_policy=dg.BackfillPolicy.single_run(),
    output_required=False,
    tags={"flow": "segments"},
    metadata={"dagster/table_name": "analytics.segment_counts"},
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
            tenants = enabled_tenants(store, flags.client(), config.projects)
            refresh = CountRefresh(warehouse, store, RefreshLedger(store, day, context.run.run_id))
            with store.lease(f"segment_counts:{day}"):
                warehouse.sweep_staging()
                results, failures = _refresh_each(context, refresh, tenants.projects)
                purged = purge_disabled(store, [skipped.project_id for skipped in tenants.skipped])
        if failures:
            repair = f"materialise segment_counts of {day} again, with the run config `projects` narrowed to these"
            raise PartialFailure("Segment counts", failures, len(results), repair)
        metadata = _metadata(results) | {"current_counts_purged": purged}
        return metadata | tenants_metadata(tenants) | cost_metadata(warehouse.cost)

    yield from materialize_days(context, count)


def _refresh_each(
    context: dg.AssetExecutionContext, refresh: CountRefresh, projects: tuple[Project, ...]
) -> tuple[list[ProjectCounts], list[Failure]]:
    results: list[ProjectCounts] = []
    failures: list[Failure] = []
    for project in projects:
        try:
            results.append(refresh.refresh(project))
        except Exception as error:
            context.log.warning("project %s failed", project.id, exc_info=True)
            refresh.ledger.fail(project, reason_of(error))
            failures.append(Failure(f"project {project.id}", reason_of(error)))
    return results, failures


def _metadata(results: list[ProjectCounts]) -> dict[str, Any]:
    counts = [count for result in results for count in result.counts]
    unknown = [count for count in counts if count.count is None]
    records = [
        dg.TableRecord({"segment": c.segment_id, "environment": c.environment.id, "reason": c.reason})
        for c in unknown[:100]
    ]
    return {
        "dagster/partition_row_count": len(counts),
        "counted": len(counts) - len(unknown),
        "unknown": len(unknown),
        **({"unknown_counts": dg.MetadataValue.table(records)} if records else {}),
    }
