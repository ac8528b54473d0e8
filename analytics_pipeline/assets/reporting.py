"""Reporting: the product's reporting events and their daily rollups in each account's own time zone."""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any

import dagster as dg

from analytics_pipeline.assets import sources
from analytics_pipeline.flows.charts import sparkline
from analytics_pipeline.flows.daily_copy.changed import intact_days
from analytics_pipeline.flows.daily_copy.copy import DayCopy
from analytics_pipeline.flows.daily_copy.estimate import estimates
from analytics_pipeline.flows.daily_copy.ledger import DayState
from analytics_pipeline.flows.days import contiguous
from analytics_pipeline.flows.enablement.epochs import ATTEMPT_TAG
from analytics_pipeline.flows.reporting.accounts import Accounts, accounts
from analytics_pipeline.flows.reporting.registry import REGISTRY
from analytics_pipeline.flows.reporting.rollups import Rollups
from analytics_pipeline.flows.reporting.source import REPORTING_EVENTS
from analytics_pipeline.flows.reporting.trends import DAYS, MetricTrend, trends
from analytics_pipeline.orchestration.flow_asset import flow_asset
from analytics_pipeline.orchestration.materialisation import (
    Materialisation,
    materialize_range,
    plan_days,
    plan_held_days,
)
from analytics_pipeline.orchestration.metadata import cost_metadata, of_run, table_metadata
from analytics_pipeline.orchestration.run_config import DryRunConfig
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.configurable import ClickHouseResource, PostgresResource

_SOURCE = sources.reporting_events.key
_COPIED = {column: [dg.TableColumnDep(_SOURCE, column)] for column in REPORTING_EVENTS.columns}


@flow_asset(
    "reporting",
    kinds={"postgres", "clickhouse"},
    deps=[sources.reporting_events],
    table="reporting_events",
    columns=_COPIED,
)
def reporting_events(
    context: dg.AssetExecutionContext,
    config: DryRunConfig,
    clickhouse: ClickHouseResource,
    postgres: PostgresResource,
) -> Iterator[Materialisation]:
    """The product's reporting events of a UTC day, exactly as its Postgres holds them.

    A range of days is read at one moment, and each day is swapped as a whole. Events without an account
    or a name go to `analytics_pipeline.dead_letters`. Late and changed rows are found by the sensor
    `reporting_late_rows`. A run for one account's history leaves days alone that are there already: a day holds the
    events of all accounts, and swapping it again would have all their rollups computed again.
    """

    def copy(first: date, last: date) -> Mapping[date, Mapping[str, Any]]:
        run_id, store = context.run.run_id, postgres.store()
        days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        with clickhouse.connect(Tag("reporting", "copy", run_id=run_id)) as warehouse:
            warehouse.sweep_staging()
            intact = intact_days(store, warehouse, REPORTING_EVENTS, days) if ATTEMPT_TAG in context.run.tags else {}
            work = DayCopy(REPORTING_EVENTS, store, warehouse, run_id)
            lacking = contiguous([day for day in days if day not in intact])
            copied = [state for ends in lacking for state in work.copy(*ends)]
            of_the_run = of_run(cost_metadata(warehouse.cost)) | table_metadata(warehouse, "reporting_events")
        there = {day: _copy_metadata(state) | {"already_there": True} | of_the_run for day, state in intact.items()}
        return there | {state.day: _copy_metadata(state) | of_the_run for state in copied}

    plan = plan_days(context, lambda days: estimates(postgres.store(), REPORTING_EVENTS, days))
    yield from plan if config.dry_run else materialize_range(context, copy)


_LINEAGE = {
    "account_id": [dg.TableColumnDep(reporting_events.key, "account_id")],
    "date": [
        dg.TableColumnDep(reporting_events.key, "created_at"),
        dg.TableColumnDep(sources.accounts.key, "settings"),
    ],
    "dimension_id": [dg.TableColumnDep(reporting_events.key, d.column) for d in REGISTRY.dimensions],
    "metric": [dg.TableColumnDep(reporting_events.key, "name")],
    "count": [
        dg.TableColumnDep(reporting_events.key, "id"),
        dg.TableColumnDep(reporting_events.key, "conversation_id"),
    ],
    "sum_value": [dg.TableColumnDep(reporting_events.key, "value")],
    "sum_value_business_hours": [dg.TableColumnDep(reporting_events.key, "value_in_business_hours")],
    "timezone": [dg.TableColumnDep(sources.accounts.key, "settings")],
}
_ANY_ZONE = dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=1, allow_nonexistent_upstream_partitions=True)


@flow_asset(
    "reporting",
    kinds={"clickhouse", "postgres"},
    deps=[dg.AssetDep(reporting_events, partition_mapping=_ANY_ZONE), sources.accounts],
    code_version=REGISTRY.version,
    freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=48), warn_window=timedelta(hours=26)),
    table="reporting_rollups",
    columns=_LINEAGE,
)
def reporting_rollups(
    context: dg.AssetExecutionContext,
    config: DryRunConfig,
    clickhouse: ClickHouseResource,
    postgres: PostgresResource,
) -> Iterator[Materialisation]:
    """Counts and sums of each metric by account, agent and inbox, for a date in every account's own time zone.

    Replaces the date for all accounts with a `reporting_timezone`. `analytics_pipeline.reporting_coverage` records with
    which zone, bounds and registry each account's day was computed; readers trust a rollup only while that holds.
    """

    def compute(first: date, last: date) -> Mapping[date, Mapping[str, Any]]:
        run_id, store = context.run.run_id, postgres.store()
        with clickhouse.connect(Tag("reporting", "rollup", run_id=run_id)) as warehouse:
            warehouse.sweep_staging()
            rolled = Rollups(warehouse, store, run_id).compute(first, last)
            of_the_last_day = {"metrics": _chart(trends(warehouse, last))}
            of_the_run = of_run(_accounts_metadata(accounts(store)) | cost_metadata(warehouse.cost))
            of_the_run |= table_metadata(warehouse, "reporting_rollups")
        return {
            day.date: {
                "dagster/partition_row_count": day.rows,
                "accounts": day.accounts,
                "complete": day.complete,
                "registry_version": REGISTRY.version,
                **(of_the_last_day if day.date == last else {}),
                **of_the_run,
            }
            for day in rolled
        }

    plan = plan_held_days(context, clickhouse, [REPORTING_EVENTS.table])
    yield from plan if config.dry_run else materialize_range(context, compute)


def _copy_metadata(state: DayState) -> dict[str, Any]:
    newest = {} if state.newest is None else {"newest_change": dg.MetadataValue.timestamp(state.newest)}
    return {"dagster/partition_row_count": state.rows, "dead_letters": state.refused, **newest}


def _accounts_metadata(found: Accounts) -> dict[str, Any]:
    records = [
        dg.TableRecord({"account": one.id, "reporting_timezone": (one.stored or "")[:60]}) for one in found.invalid[:50]
    ]
    return {
        "accounts_without_timezone": len(found.unzoned) - len(found.invalid),
        "accounts_with_invalid_timezone": len(found.invalid),
        **({"invalid_timezones": dg.MetadataValue.table(records)} if records else {}),
    }


def _chart(found: list[MetricTrend]) -> dg.MetadataValue:
    """Each metric over the last days, one bar a day."""
    rows = [
        f"| {trend.metric} | {trend.counts[-1]} | {'–' if trend.average is None else f'{trend.average:,.0f} s'} |"
        f" `{sparkline(trend.counts)}` |"
        for trend in found
    ]
    return dg.MetadataValue.md(
        "\n".join([f"| metric | last day | average | last {DAYS} days |", "|---|--:|--:|---|", *rows])
    )
