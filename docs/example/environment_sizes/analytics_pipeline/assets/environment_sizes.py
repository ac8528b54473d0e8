"""Environment sizes: how many identities each environment has, day by day."""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import dagster as dg

from analytics_pipeline.assets.identities import identity_snapshots
from analytics_pipeline.flows.environment_sizes.refresh import SizeRefresh
from analytics_pipeline.flows.failures import Failure, PartialFailure, reason_of
from analytics_pipeline.flows.identities.ledger import IdentityLedger
from analytics_pipeline.flows.tenants import Project, enabled_tenants
from analytics_pipeline.orchestration.flow_asset import flow_asset
from analytics_pipeline.orchestration.materialisation import Materialisation, materialize_days
from analytics_pipeline.orchestration.metadata import cost_metadata, tenants_metadata
from analytics_pipeline.orchestration.run_config import ProjectsConfig
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.configurable import ClickHouseResource, FeatureFlagsResource, PostgresResource


@flow_asset("environment_sizes", kinds={"clickhouse"}, deps=[identity_snapshots], table="environment_sizes")
def environment_sizes(
    context: dg.AssetExecutionContext,
    config: ProjectsConfig,
    clickhouse: ClickHouseResource,
    postgres: PostgresResource,
    flags: FeatureFlagsResource,
) -> Iterator[Materialisation]:
    """How many identities each environment has in the day's snapshot, in the ClickHouse table `environment_sizes`."""

    def count(day: date) -> Mapping[str, Any]:
        store, run_id = postgres.store(), context.run.run_id
        with clickhouse.connect(Tag("environment_sizes", "count", run_id=run_id)) as warehouse:
            tenants = enabled_tenants(store, flags.client(), config.projects)
            refresh = SizeRefresh(warehouse, IdentityLedger(store, day, run_id))
            with store.lease(f"environment_sizes:{day}"):
                sizes, failures = _refresh_each(refresh, tenants.projects)
        if failures:
            raise PartialFailure(
                "Environment sizes", failures, len(sizes), f"materialise environment_sizes of {day} again"
            )
        return {"dagster/partition_row_count": sum(sizes)} | tenants_metadata(tenants) | cost_metadata(warehouse.cost)

    yield from materialize_days(context, count)


def _refresh_each(refresh: SizeRefresh, projects: tuple[Project, ...]) -> tuple[list[int], list[Failure]]:
    sizes: list[int] = []
    failures: list[Failure] = []
    for project in projects:
        try:
            sizes.append(refresh.refresh(project))
        except Exception as error:  # noqa: BLE001 - whatever it is, the other projects go on
            failures.append(Failure(f"project {project.id}", reason_of(error)))
    return sizes, failures
