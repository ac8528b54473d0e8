"""Identities: DynamoDB → landing zone → ClickHouse, one snapshot a day."""

from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta, timezone
from typing import Any

import dagster as dg
from pydantic import Field
from rich.filesize import decimal

from analytics_pipeline.assets import sources
from analytics_pipeline.config import Settings
from analytics_pipeline.flows.erasure.forgotten import forgotten
from analytics_pipeline.flows.failures import PartialFailure
from analytics_pipeline.flows.held_tables import Estimate
from analytics_pipeline.flows.identities.capture import Capture, CaptureMethod, IdentityCapture
from analytics_pipeline.flows.identities.export.capture import ExportCapture
from analytics_pipeline.flows.identities.kept import remove_expired
from analytics_pipeline.flows.identities.ledger import IdentityLedger
from analytics_pipeline.flows.identities.load import LoadResult, SnapshotLoad
from analytics_pipeline.flows.identities.open_days import is_open, refuse_closed_days
from analytics_pipeline.flows.identities.reader import QueryReader
from analytics_pipeline.orchestration.flow_asset import flow_asset
from analytics_pipeline.orchestration.materialisation import Materialisation, materialize_days, plan_days
from analytics_pipeline.orchestration.metadata import cost_metadata, table_metadata, tenants_metadata
from analytics_pipeline.orchestration.partitions import days_of
from analytics_pipeline.orchestration.run_config import ProjectsConfig, deadline_of_run
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.configurable import (
    ClickHouseResource,
    DynamoDBResource,
    FeatureFlagsResource,
    LandingZoneResource,
    PostgresResource,
)
from analytics_pipeline.resources.deadline import Deadline
from analytics_pipeline.resources.dynamodb import IdentitiesTable
from analytics_pipeline.resources.landing import LandingZone
from analytics_pipeline.resources.postgres import Postgres

_SOURCE = sources.identity_documents.key
_LINEAGE = {
    "environment_id": [dg.TableColumnDep(_SOURCE, "environment_api_key")],
    "identifier": [dg.TableColumnDep(_SOURCE, "identifier")],
    "identity_key": [dg.TableColumnDep(_SOURCE, "django_id"), dg.TableColumnDep(_SOURCE, "composite_key")],
    "structured_traits": [dg.TableColumnDep(_SOURCE, "identity_traits"), dg.TableColumnDep(_SOURCE, "system_traits")],
    "traits": [dg.TableColumnDep(_SOURCE, "identity_traits"), dg.TableColumnDep(_SOURCE, "system_traits")],
}


class IdentitiesConfig(ProjectsConfig):
    """Narrows and bounds a run."""

    time_limit_hours: float = Field(
        default=4.0,
        gt=0,
        description="How long capture and load may take, for each day of the run, from when it began."
        " `run_monitoring.max_runtime_seconds` of dagster.yaml has to be longer.",
    )


class SnapshotConfig(IdentitiesConfig):
    """Narrows or forces a load."""

    reload: bool = Field(
        default=False, description="Load also environments whose capture is completely loaded already."
    )


@flow_asset(
    "identities",
    kinds={"dynamodb", "s3"},
    deps=[sources.identity_documents, sources.environments],
)
def raw_identities(
    context: dg.AssetExecutionContext,
    config: IdentitiesConfig,
    dynamodb: DynamoDBResource,
    postgres: PostgresResource,
    landing: LandingZoneResource,
    flags: FeatureFlagsResource,
) -> Iterator[Materialisation]:
    """All identities of every enabled project's environments, as files of the landing zone.

    DynamoDB holds only the present, so a day can be captured while it is open and for `IDENTITY_CAPTURE_GRACE_HOURS`
    after it closed; later the run fails and says so, before it captures any day of its range. Each environment is
    committed on its own, by its manifest. Documents that cannot be mapped go to `analytics_pipeline.dead_letters` with
    the reason. It is stopped after `time_limit_hours`; what was captured by then stays.
    """
    begun_at = datetime.now(timezone.utc)

    def capture(day: date) -> Mapping[str, Any]:
        settings = Settings.load()
        store, zone, table = postgres.store(), landing.zone(), dynamodb.identities()
        grace = timedelta(hours=settings.identity_capture_grace_hours)
        # A range is captured as a whole or not at all: what is behind this asset runs only when every day was captured.
        refuse_closed_days(days_of(context), begun_at, grace)
        refuse_closed_days([day], datetime.now(timezone.utc), grace)
        tenants = config.tenants(store, flags.client())
        repair = f"materialise raw_identities of {day} again while the day is open"
        deadline = deadline_of_run(context, config.time_limit_hours, _time_is_over("capture", day, config, repair))
        run_id, resumes = context.run.run_id, context.retry_number > 0
        with store.lease(f"identities:{day}"):
            # With nobody to capture, a whole table must not be exported.
            method = tenants.environments and _method(settings, table, zone, store, run_id, resumes, deadline)
            captures, failures = method.capture(day, tenants.environments) if method else ([], [])
        if failures:
            raise PartialFailure("Capture of identities", failures, len(captures), repair)
        return {**_capture_metadata(captures), **tenants_metadata(tenants), **_expiry(settings, zone, store, day)}

    yield from _plan_capture(context, dynamodb) if config.dry_run else materialize_days(context, capture)


def _plan_capture(context: dg.AssetExecutionContext, dynamodb: DynamoDBResource) -> Iterator[Materialisation]:
    """The table as a whole: how much of it is a project's is known to nobody."""
    yield from plan_days(context, lambda days: dict.fromkeys(days, Estimate(*dynamodb.identities().estimated())))


def _expiry(settings: Settings, zone: LandingZone, store: Postgres, day: date) -> Mapping[str, Any]:
    """Once the day is captured, older ones may go; nothing is said where captures are kept for ever."""
    keep_days = settings.landing_retention_days
    return {} if keep_days is None else {"captures_expired": remove_expired(zone, store, day, keep_days)}


@flow_asset(
    "identities",
    kinds={"clickhouse"},
    deps=[raw_identities],
    table="identities",
    columns=_LINEAGE,
)
def identity_snapshots(
    context: dg.AssetExecutionContext,
    config: SnapshotConfig,
    clickhouse: ClickHouseResource,
    postgres: PostgresResource,
    landing: LandingZoneResource,
    flags: FeatureFlagsResource,
) -> Iterator[Materialisation]:
    """The day's snapshot of every captured identity in the ClickHouse table `identities`.

    Each environment's slice is replaced at once: new rows appear, changed ones change, vanished ones get a tombstone.
    What is loaded completely already is left alone, so running it again does only what is missing. Past days are
    rebuilt from the landing zone. `analytics_pipeline.identity_loads` tells how each environment's load went. It is
    stopped after `time_limit_hours` from the run's begin; what was loaded by then stays.
    """

    def load(day: date) -> Mapping[str, Any]:
        store, zone = postgres.store(), landing.zone()
        ledger = IdentityLedger(store, day, context.run.run_id)
        with clickhouse.connect(Tag("identities", "snapshot", run_id=context.run.run_id)) as warehouse:
            tenants = config.tenants(store, flags.client())
            repair = f"materialise identity_snapshots of {day} again; it loads only what is missing"
            deadline = deadline_of_run(context, config.time_limit_hours, _time_is_over("load", day, config, repair))
            work = SnapshotLoad(warehouse.limited(deadline), zone, ledger, day, config.reload)
            with store.lease(f"identities:{day}"):
                warehouse.sweep_staging()
                result = work.load(tenants.environments)
                # Of a closed day, what was true then stays.
                may_remove = is_open(day, Settings.load()) and deadline.remaining > 0
                gone = work.remove_gone(tenants.known_environment_keys, config.projects) if may_remove else []
            if result.failures:
                raise PartialFailure("Load of identities", result.failures, result.done, repair)
            metadata = _load_metadata(result, gone) | tenants_metadata(tenants) | cost_metadata(warehouse.cost)
            return metadata | table_metadata(warehouse, "identities")

    plan = _plan_load(context, config, clickhouse, postgres, landing, flags)
    yield from plan if config.dry_run else materialize_days(context, load)


def _plan_load(
    context: dg.AssetExecutionContext,
    config: SnapshotConfig,
    clickhouse: ClickHouseResource,
    postgres: PostgresResource,
    landing: LandingZoneResource,
    flags: FeatureFlagsResource,
) -> Iterator[Materialisation]:
    """The captures that a load would read."""

    def estimate(days: list[date]) -> Mapping[date, Estimate]:
        store, zone, run_id = postgres.store(), landing.zone(), context.run.run_id
        with clickhouse.connect(Tag("identities", "dry_run", run_id=run_id)) as warehouse:
            environments = config.tenants(store, flags.client()).environments
            ledgers = {day: IdentityLedger(store, day, run_id) for day in days}
            loads = {day: SnapshotLoad(warehouse, zone, one, day, config.reload) for day, one in ledgers.items()}
            return {day: one.estimate(environments) for day, one in loads.items()}

    yield from plan_days(context, estimate)


def _method(
    settings: Settings,
    table: IdentitiesTable,
    zone: LandingZone,
    store: Postgres,
    run_id: str,
    resumes: bool,
    deadline: Deadline,
) -> CaptureMethod:
    """The configured way to capture.

    Raises:
        UnusableIndex: the index that an environment's identities are read from does not hold all that is read.
    """
    if settings.identity_reader == "export":
        return ExportCapture(table, zone, lambda: forgotten(store), run_id, resumes, deadline)
    table.check_index()
    concurrency = settings.identity_capture_concurrency
    return IdentityCapture(QueryReader(table), zone, store, run_id, concurrency, resumes, deadline)


def _time_is_over(what: str, day: date, config: IdentitiesConfig, repair: str) -> str:
    return (
        f"the {what} was stopped {config.time_limit_hours:g} hours a day after the run began; what it had not finished"
        f" stays as it was. Allow more time with the run config `time_limit_hours`, then {repair}"
    )


def _capture_metadata(captures: list[Capture]) -> dict[str, Any]:
    identities = [capture.identities for capture in captures if capture.identities is not None]
    letters = [capture.dead_letters for capture in captures if capture.dead_letters is not None]
    size = sum(capture.manifest.bytes for capture in captures)
    return {
        # An export does not say how many identities it holds; the load counts them.
        **({"dagster/partition_row_count": sum(identities)} if len(identities) == len(captures) else {}),
        **({"dead_letters": sum(letters)} if len(letters) == len(captures) else {}),
        "size": decimal(size),
        "bytes": size,
        "environments": sum(len(capture.environments) for capture in captures),
    }


def _load_metadata(result: LoadResult, gone: list[str]) -> dict[str, Any]:
    return {
        "dagster/partition_row_count": sum(one.rows for one in [*result.loaded, *result.unchanged]),
        "environments_loaded": len(result.loaded),
        "environments_unchanged": len(result.unchanged),
        "environments_gone": len(gone),
    }
