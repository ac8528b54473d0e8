"""The check of every flow that nothing is stored of somebody who was forgotten."""

from collections.abc import Collection
from dataclasses import asdict

import dagster as dg

from analytics_pipeline.flows.audited import Audited
from analytics_pipeline.flows.erasure.audit import leftovers
from analytics_pipeline.flows.erasure.forgotten import forgotten
from analytics_pipeline.orchestration.findings import Findings, NotAsked, check_now
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.configurable import ClickHouseResource, PostgresResource


def nothing_left(
    asset: dg.AssetsDefinition | dg.AssetKey, flow: str, tables: Collection[str], letters: Collection[str] = ()
) -> dg.AssetChecksDefinition:
    """The check of these tables and of the dead letters of these flows, at the flow's asset."""

    @dg.asset_check(asset=asset, name="nothing_of_forgotten_subjects_is_left")
    def check(
        context: dg.AssetCheckExecutionContext, postgres: PostgresResource, clickhouse: ClickHouseResource
    ) -> dg.AssetCheckResult:
        """No row names somebody who was forgotten. Repair: `analytics-pipeline forget` of the same subject again."""

        def look() -> Findings:
            store = postgres.store()
            if not forgotten(store).hashes:
                raise NotAsked("nobody", "Nobody was forgotten, so nothing has to be gone")
            with clickhouse.connect(Tag(flow, "check")) as warehouse:
                found = leftovers(store, warehouse, tables, letters)
            return Audited(len(tables), [asdict(one) for one in found.found])

        return check_now(context, look)

    return check
