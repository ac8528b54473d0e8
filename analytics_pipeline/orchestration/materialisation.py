"""The frame of every daily asset: claims its work, calls its flow, reports each day as done, skipped or failed."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from typing import Any, TypeAlias

import dagster as dg
from rich.filesize import decimal

from analytics_pipeline.config import NotConfigured, Settings
from analytics_pipeline.flows.contract import FLOWS, require
from analytics_pipeline.flows.enablement.epochs import ATTEMPT_TAG, Attempt
from analytics_pipeline.flows.enablement.errors import NotClaimed
from analytics_pipeline.flows.enablement.ledger import EnablementLedger
from analytics_pipeline.flows.enablement.work import claimed
from analytics_pipeline.flows.failures import passes, reason_and_place, reason_of
from analytics_pipeline.flows.held_tables import Estimate, estimated_days
from analytics_pipeline.flows.source_rows.hidden import hidden_rows
from analytics_pipeline.flows.source_rows.keyless import note_keyless
from analytics_pipeline.orchestration.partitions import EmptyRange, days_of
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.configurable import ClickHouseResource
from analytics_pipeline.resources.kept_sessions import kept_sessions
from analytics_pipeline.resources.postgres import LeaseHeld, postgres

DRY_RUN = "dry run: nothing was written"
Materialisation: TypeAlias = dg.MaterializeResult[None] | dg.AssetMaterialization | dg.AssetObservation


def materialize_days(
    context: dg.AssetExecutionContext, work: Callable[[date], Mapping[str, Any]]
) -> Iterator[Materialisation]:
    """Do `work` for each day of the run and report its metadata on that day's partition.

    Every day is tried. A store that is not configured, or a lease that another run holds, skips the day: the day is not
    materialised and nothing fails. When days fail, the run fails at its end with all reasons, and the other days count
    as done. The step is tried again when one of the troubles passes by itself, so `work` must leave alone what is
    complete.
    """
    days = _days(context)
    try:
        with kept_sessions(), _claim_of(context):
            yield from _materialize_each(context, days, work)
    except NotClaimed as error:
        for day in days:
            yield _skip(context, day, error)


def _materialize_each(
    context: dg.AssetExecutionContext, days: list[date], work: Callable[[date], Mapping[str, Any]]
) -> Iterator[Materialisation]:
    done: dict[date, Mapping[str, Any]] = {}
    failures: list[str] = []
    may_succeed_later = False
    for day in days:
        try:
            _require_contract(context)
            done[day] = work(day)
        except (NotConfigured, LeaseHeld) as error:
            yield _skip(context, day, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other days go on
            failures.append(f"{day}: {reason_of(error)}")
            may_succeed_later = may_succeed_later or passes(error)
            context.log.error("%s failed: %s", day, reason_and_place(error))
    if len(done) < len(days):
        # Day by day: a whole result would claim the other days as well.
        for day, metadata in done.items():
            yield dg.AssetMaterialization(context.asset_key, partition=day.isoformat(), metadata=metadata)
        if failures:
            raise dg.Failure("\n".join(failures), allow_retries=may_succeed_later)
        return
    for day, metadata in done.items():
        context.add_asset_metadata(metadata, asset_key=context.asset_key, partition_key=day.isoformat())
    yield dg.MaterializeResult()


def materialize_range(
    context: dg.AssetExecutionContext, work: Callable[[date, date], Mapping[date, Mapping[str, Any]]]
) -> Iterator[Materialisation]:
    """Do `work` once for the whole range of the run, first and last day inclusive; it returns each day's metadata.

    A store that is not configured, or a lease that another run holds, skips all days: none is materialised and nothing
    fails.
    """
    days = _days(context)
    try:
        with kept_sessions(), _claim_of(context):
            _require_contract(context)
            done = work(days[0], days[-1])
    except (NotConfigured, LeaseHeld, NotClaimed) as error:
        for day in days:
            yield _skip(context, day, error)
        return
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told without its own text
        context.log.error("%s to %s failed: %s", days[0], days[-1], reason_and_place(error))
        raise dg.Failure(reason_of(error), allow_retries=passes(error)) from None
    for day, metadata in done.items():
        context.add_asset_metadata(metadata, asset_key=context.asset_key, partition_key=day.isoformat())
    yield dg.MaterializeResult()


def plan_days(
    context: dg.AssetExecutionContext, estimate: Callable[[list[date]], Mapping[date, Estimate]]
) -> Iterator[Materialisation]:
    """Tell of each day of the run what it would read; `estimate` finds that out and writes nothing.

    No day is materialised, and no history is claimed.
    """
    days = _days(context)
    try:
        with kept_sessions():
            found = estimate(days)
    except NotConfigured as error:
        for day in days:
            yield _skip(context, day, error)
        return
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told without its own text
        context.log.error("the dry run failed: %s", reason_and_place(error))
        raise dg.Failure(reason_of(error), allow_retries=passes(error)) from None
    total = sum(found.values(), Estimate())
    told = f"{total.rows:,} rows ({decimal(total.bytes)})"
    context.log.info("dry run: about %s of %d days would be read; nothing was written", told, len(found))
    for day, one in found.items():
        metadata: dict[str, Any] = {"status": DRY_RUN, "rows": one.rows, "bytes": one.bytes, "size": decimal(one.bytes)}
        yield dg.AssetObservation(context.asset_key, partition=day.isoformat(), metadata=metadata)


def plan_held_days(
    context: dg.AssetExecutionContext, clickhouse: ClickHouseResource, tables: Collection[str]
) -> Iterator[Materialisation]:
    """The same for work that reads days of these ClickHouse tables, which are partitioned by day."""
    tag = Tag(context.assets_def.tags_by_key[context.asset_key]["flow"], "dry_run", run_id=context.run.run_id)

    def estimate(days: list[date]) -> Mapping[date, Estimate]:
        with clickhouse.connect(tag) as warehouse:
            return estimated_days(warehouse, tables, days)

    yield from plan_days(context, estimate)


@contextmanager
def _claim_of(context: dg.AssetExecutionContext) -> Iterator[None]:
    """The claim on the history that the run was asked for by the enablement sensor; any other run needs none."""
    attempt = context.run.tags.get(ATTEMPT_TAG)
    if attempt is None:
        yield
        return
    ledger = EnablementLedger(postgres(Settings.load()))
    with claimed(ledger, Attempt.parse(attempt), context.run.run_id):
        yield


def _require_contract(context: dg.AssetExecutionContext) -> None:
    """Refuse a source that the asset's flow would read wrong. Whether there is one is the work's to say."""
    settings = Settings.load()
    if settings.database_url is not None:
        store, flow = postgres(settings), context.assets_def.tags_by_key[context.asset_key]["flow"]
        require(store, flow)
        for hiding in hidden_rows(store, FLOWS[flow]):
            context.log.warning("%s. To change it: %s", hiding, hiding.repair)
        note_keyless(store, flow, context.run.run_id)


def _days(context: dg.AssetExecutionContext) -> list[date]:
    try:
        return days_of(context)
    except EmptyRange as error:
        raise dg.Failure(str(error), allow_retries=False) from error


def _skip(
    context: dg.AssetExecutionContext, day: date, error: NotConfigured | LeaseHeld | NotClaimed
) -> dg.AssetObservation:
    reasons = {LeaseHeld: "lease_held", NotClaimed: "not_claimed"}
    status = f"skipped: {error.reason if isinstance(error, NotConfigured) else reasons[type(error)]}"
    context.log.warning("%s %s (%s)", day, status, error)
    metadata = {"status": status, "detail": str(error)}
    return dg.AssetObservation(context.asset_key, partition=day.isoformat(), metadata=metadata)
