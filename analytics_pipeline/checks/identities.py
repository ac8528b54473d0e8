"""Checks of the snapshots: they are complete, hold what was captured, and are plausible."""

from dataclasses import asdict
from datetime import date

import dagster as dg

from analytics_pipeline.assets.identities import identity_snapshots
from analytics_pipeline.flows.audited import Audited
from analytics_pipeline.flows.identities.audit import (
    emptied_environments,
    row_differences,
    unkept_captures,
    unloaded_environments,
)
from analytics_pipeline.flows.tenants import enabled_tenants
from analytics_pipeline.orchestration.findings import Findings, check_days
from analytics_pipeline.orchestration.forgotten import nothing_left
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.configurable import (
    ClickHouseResource,
    FeatureFlagsResource,
    LandingZoneResource,
    PostgresResource,
)

_TAG = Tag("identities", "check")


@dg.asset_check(asset=identity_snapshots)
def every_environment_loaded(
    context: dg.AssetCheckExecutionContext, postgres: PostgresResource, flags: FeatureFlagsResource
) -> dg.AssetCheckResult:
    """Every environment of the enabled projects has a completed load of the day in `identity_loads`."""

    def look(day: date) -> Findings:
        store = postgres.store()
        environments = unloaded_environments(store, enabled_tenants(store, flags.client()), day)
        return Audited(environments.compared, [{"environment": id_} for id_ in environments.found])

    return check_days(context, look)


@dg.asset_check(asset=identity_snapshots, blocking=True)
def snapshot_rows_equal_capture(
    context: dg.AssetCheckExecutionContext, postgres: PostgresResource, clickhouse: ClickHouseResource
) -> dg.AssetCheckResult:
    """ClickHouse holds, for each loaded environment, as many live identities as its capture did."""

    def look(day: date) -> Findings:
        with clickhouse.connect(_TAG) as warehouse:
            environments = row_differences(postgres.store(), warehouse, day)
        return Audited(environments.compared, [asdict(difference) for difference in environments.found])

    return check_days(context, look)


@dg.asset_check(asset=identity_snapshots)
def captures_are_kept(
    context: dg.AssetCheckExecutionContext, postgres: PostgresResource, landing: LandingZoneResource
) -> dg.AssetCheckResult:
    """The landing zone keeps, whole, the capture of every loaded environment: only from it can a past day be rebuilt.

    A warning: the snapshot itself is unharmed.
    """

    def look(day: date) -> Findings:
        environments = unkept_captures(postgres.store(), landing.zone(), day)
        return Audited(environments.compared, [{"environment_key": key} for key in environments.found])

    return check_days(context, look, severity=dg.AssetCheckSeverity.WARN)


@dg.asset_check(asset=identity_snapshots)
def no_environment_emptied(
    context: dg.AssetCheckExecutionContext, postgres: PostgresResource, clickhouse: ClickHouseResource
) -> dg.AssetCheckResult:
    """No environment that had identities the day before has none now. A warning: a customer may have removed them."""

    def look(day: date) -> Findings:
        with clickhouse.connect(_TAG) as warehouse:
            environments = emptied_environments(postgres.store(), warehouse, day)
        return Audited(environments.compared, [{"environment_key": key} for key in environments.found])

    return check_days(context, look, severity=dg.AssetCheckSeverity.WARN)


NOTHING_LEFT = nothing_left(
    identity_snapshots,
    "identities",
    ("identities", "identity_loads"),
    ("identities",),
)
