"""What every daily asset does around its flow: days one by one, skips, per-day metadata, failures with their repair."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime, timedelta, timezone
from typing import Any, TypeAlias

import dagster as dg
from openfeature.client import OpenFeatureClient
from pydantic import Field

from analytics_pipeline.config import NotConfigured, Settings
from analytics_pipeline.flows.enablement.epochs import TAG, Attempt
from analytics_pipeline.flows.enablement.ledger import EnablementLedger
from analytics_pipeline.flows.enablement.work import NotClaimed, claimed
from analytics_pipeline.flows.failures import passes, reason_of
from analytics_pipeline.flows.identities.capture import DayHasClosed, refuse_closed_day
from analytics_pipeline.flows.tenants import Tenants, enabled_tenants
from analytics_pipeline.partitions import EmptyRange, days_of
from analytics_pipeline.resources.clickhouse import ClickHouse, Cost
from analytics_pipeline.resources.deadline import Deadline
from analytics_pipeline.resources.postgres import LeaseHeld, Postgres, postgres

Materialisation: TypeAlias = dg.MaterializeResult[None] | dg.AssetMaterialization | dg.AssetObservation


class ProjectsConfig(dg.Config):
    """Narrows a run."""

    projects: list[int] | None = Field(
        default=None, min_length=1, description="Ids of the projects to work on; all when absent."
    )
    before_exposure: bool = Field(
        default=False,
        description="Work on `projects` although the feature is still off for their organisations, so that there are"
        " counts when it is switched on.",
    )

    def tenants(self, store: Postgres, flags: OpenFeatureClient) -> Tenants:
        """The projects that the run is to work on."""
        return enabled_tenants(store, flags, self.projects, before_exposure=self.before_exposure)


def materialize_days(
    context: dg.AssetExecutionContext, work: Callable[[date], Mapping[str, Any]]
) -> Iterator[Materialisation]:
    """Do `work` for each day of the run and report its metadata on that day's partition.

    Every day is tried. A store that is not configured, or a lease that another run holds, skips the day: it is not
    materialised and nothing fails. When days failed, the run fails with all reasons and the others count as done. The
    step is tried again when a trouble was one that passes by itself; what is complete by then must be left alone.
    """
    days = _days(context)
    try:
        with _claim_of(context):
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
            done[day] = work(day)
        except (NotConfigured, LeaseHeld) as error:
            yield _skip(context, day, error)
        except Exception as error:
            failures.append(f"{day}: {reason_of(error)}")
            may_succeed_later = may_succeed_later or passes(error)
            context.log.error("%s failed", day, exc_info=True)
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

    A store that is not configured, or a lease that another run holds, skips the days: nothing is materialised or fails.
    """
    days = _days(context)
    try:
        with _claim_of(context):
            done = work(days[0], days[-1])
    except (NotConfigured, LeaseHeld, NotClaimed) as error:
        for day in days:
            yield _skip(context, day, error)
        return
    except Exception as error:
        context.log.error("%s to %s failed", days[0], days[-1], exc_info=True)
        raise dg.Failure(reason_of(error), allow_retries=passes(error)) from error
    for day, metadata in done.items():
        context.add_asset_metadata(metadata, asset_key=context.asset_key, partition_key=day.isoformat())
    yield dg.MaterializeResult()


@contextmanager
def _claim_of(context: dg.AssetExecutionContext) -> Iterator[None]:
    """The claim on the history that the run was asked for by the enablement sensor; any other run needs none."""
    attempt = context.run.tags.get(TAG)
    if attempt is None:
        yield
        return
    ledger = EnablementLedger(postgres(Settings.load()))
    with claimed(ledger, Attempt.parse(attempt), context.run.run_id):
        yield


def _days(context: dg.AssetExecutionContext) -> list[date]:
    try:
        return days_of(context)
    except EmptyRange as error:
        raise dg.Failure(str(error), allow_retries=False) from error


def deadline_of_run(context: dg.AssetExecutionContext, hours: float, message: str) -> Deadline:
    """So many hours for each day of the run, from when it began: its steps and their retries share them."""
    record = context.instance.get_run_record_by_id(context.run.run_id)
    begun = (record and record.start_time) or time.time()
    return Deadline.after(hours * 3600 * len(_days(context)) - (time.time() - begun), message)


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


def _skip(
    context: dg.AssetExecutionContext, day: date, error: NotConfigured | LeaseHeld | NotClaimed
) -> dg.AssetObservation:
    reasons = {LeaseHeld: "lease_held", NotClaimed: "not_claimed"}
    status = f"skipped: {error.reason if isinstance(error, NotConfigured) else reasons[type(error)]}"
    context.log.warning("%s %s (%s)", day, status, error)
    metadata = {"status": status, "detail": str(error)}
    return dg.AssetObservation(context.asset_key, partition=day.isoformat(), metadata=metadata)
