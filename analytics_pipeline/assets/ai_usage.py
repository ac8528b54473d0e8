"""AI usage: the product's AI events → ClickHouse → figures by day, user and namespace."""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import dagster as dg

from analytics_pipeline.assets import sources
from analytics_pipeline.flows.ai_usage.daily import FIGURES, DailyUsage
from analytics_pipeline.flows.ai_usage.source import CODE_SUGGESTION_EVENTS, DUO_CHAT_EVENTS
from analytics_pipeline.flows.ai_usage.trends import DAYS, EventTrend, trends
from analytics_pipeline.flows.charts import sparkline
from analytics_pipeline.flows.daily_copy.copy import DayCopy
from analytics_pipeline.flows.daily_copy.estimate import estimates
from analytics_pipeline.flows.daily_copy.source import DaySource
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

_DIRECT = ("id", "user_id", "event", "namespace_path", "timestamp", "created_at")
_PAYLOAD = ("unique_tracking_id", "language", "suggestion_size", "branch_name")


def _lineage(source: dg.AssetSpec, from_payload: tuple[str, ...] = ()) -> dict[str, list[dg.TableColumnDep]]:
    columns = {column: column for column in _DIRECT} | dict.fromkeys(from_payload, "payload")
    return {name: [dg.TableColumnDep(source.key, of)] for name, of in columns.items()}


@flow_asset(
    "ai_usage",
    kinds={"clickhouse", "postgres"},
    deps=[sources.ai_duo_chat_events],
    table=DUO_CHAT_EVENTS.table,
    columns=_lineage(sources.ai_duo_chat_events),
)
def duo_chat_events(
    context: dg.AssetExecutionContext,
    config: DryRunConfig,
    clickhouse: ClickHouseResource,
    postgres: PostgresResource,
) -> Iterator[Materialisation]:
    """Every question to the AI chat of the UTC day, as the product's Postgres holds them now.

    The day is replaced as a whole: rows that vanished at the source vanish here. Rows that cannot be kept are dead
    letters. `analytics_pipeline.source_copies` tells what each day's last copy held.
    """
    yield from _copied(context, config, clickhouse, postgres, DUO_CHAT_EVENTS)


@flow_asset(
    "ai_usage",
    kinds={"clickhouse", "postgres"},
    deps=[sources.ai_code_suggestion_events],
    table=CODE_SUGGESTION_EVENTS.table,
    columns=_lineage(sources.ai_code_suggestion_events, _PAYLOAD),
)
def code_suggestion_events(
    context: dg.AssetExecutionContext,
    config: DryRunConfig,
    clickhouse: ClickHouseResource,
    postgres: PostgresResource,
) -> Iterator[Materialisation]:
    """Every code suggestion event of the UTC day, as the product's Postgres holds them now.

    The day is replaced as a whole: rows that vanished at the source vanish here. Rows that cannot be kept are dead
    letters. `analytics_pipeline.source_copies` tells what each day's last copy held.
    """
    yield from _copied(context, config, clickhouse, postgres, CODE_SUGGESTION_EVENTS)


def _copied(
    context: dg.AssetExecutionContext,
    config: DryRunConfig,
    clickhouse: ClickHouseResource,
    postgres: PostgresResource,
    source: DaySource,
) -> Iterator[Materialisation]:
    def copy(first: date, last: date) -> Mapping[date, Mapping[str, Any]]:
        tag = Tag("ai_usage", source.name, run_id=context.run.run_id)
        with clickhouse.connect(tag) as warehouse:
            warehouse.sweep_staging()
            states = DayCopy(source, postgres.store(), warehouse, context.run.run_id).copy(first, last)
            of_the_run = of_run(cost_metadata(warehouse.cost)) | table_metadata(warehouse, source.table)
        return {
            state.day: {"dagster/partition_row_count": state.rows, "dead_letters": state.refused, **of_the_run}
            for state in states
        }

    plan = plan_days(context, lambda days: estimates(postgres.store(), source, days))
    yield from plan if config.dry_run else materialize_range(context, copy)


def _counted(column: str, of: str) -> dict[str, list[dg.TableColumnDep]]:
    return {column: [dg.TableColumnDep(asset.key, of) for asset in (duo_chat_events, code_suggestion_events)]}


@flow_asset(
    "ai_usage",
    kinds={"clickhouse"},
    deps=[duo_chat_events, code_suggestion_events],
    table=FIGURES.name,
    columns={
        **_counted("date", "timestamp"),
        **_counted("event", "event"),
        **_counted("user_id", "user_id"),
        **_counted("namespace_path", "namespace_path"),
        **_counted("occurrences", "id"),
        **_counted("last_at", "timestamp"),
        "language": [dg.TableColumnDep(code_suggestion_events.key, "language")],
        "suggestion_size_sum": [dg.TableColumnDep(code_suggestion_events.key, "suggestion_size")],
    },
)
def ai_usage_daily(
    context: dg.AssetExecutionContext,
    config: DryRunConfig,
    clickhouse: ClickHouseResource,
    postgres: PostgresResource,
) -> Iterator[Materialisation]:
    """How often each user did what, where and in which language, on the UTC day.

    Counted anew from the de-duplicated events and replaced as a whole, so a figure never depends on how often its
    events arrived. Users stay in the key: whoever is distinct over several days or namespaces can be counted exactly.
    """

    def build(first: date, last: date) -> Mapping[date, Mapping[str, Any]]:
        with clickhouse.connect(Tag("ai_usage", "daily", run_id=context.run.run_id)) as warehouse:
            rows = DailyUsage(warehouse, postgres.store(), context.run.run_id).build(first, last)
            of_the_last_day = {"events": _chart(trends(warehouse, last))}
            of_the_run = of_run(cost_metadata(warehouse.cost)) | table_metadata(warehouse, FIGURES.name)
        return {
            day: {
                "dagster/partition_row_count": count,
                **(of_the_last_day if day == last else {}),
                **of_the_run,
            }
            for day, count in rows.items()
        }

    plan = plan_held_days(context, clickhouse, [DUO_CHAT_EVENTS.table, CODE_SUGGESTION_EVENTS.table])
    yield from plan if config.dry_run else materialize_range(context, build)


def _chart(found: list[EventTrend]) -> dg.MetadataValue:
    """Each event over the last days, one bar a day."""
    rows = [
        f"| {trend.event.replace('_', ' ')} | {trend.counts[-1]:,} | {trend.users:,} | `{sparkline(trend.counts)}` |"
        for trend in found
    ]
    return dg.MetadataValue.md(
        "\n".join([f"| event | this day | users | last {DAYS} days |", "|---|--:|--:|---|", *rows])
    )
