"""Checks of AI usage: all events are there, each once, and counted."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date

import dagster as dg

from analytics_pipeline.assets.ai_usage import ai_usage_daily, code_suggestion_events, duo_chat_events
from analytics_pipeline.flows.ai_usage.audit import duplicate_events, missing_events, uncounted_events, unrecorded_days
from analytics_pipeline.flows.ai_usage.source import CODE_SUGGESTION_EVENTS, DUO_CHAT_EVENTS
from analytics_pipeline.flows.audited import Audited
from analytics_pipeline.flows.daily_copy.source import DaySource
from analytics_pipeline.orchestration.findings import Finding, Findings, check_range
from analytics_pipeline.orchestration.forgotten import nothing_left
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.configurable import ClickHouseResource, PostgresResource

_TAG = Tag("ai_usage", "check")


@dg.asset_check(asset=duo_chat_events)
def chat_events_equal_source(
    context: dg.AssetCheckExecutionContext, postgres: PostgresResource, clickhouse: ClickHouseResource
) -> dg.AssetCheckResult:
    """ClickHouse holds as many chat events of each day as the source had when it was copied, and none twice."""
    return check_range(context, lambda days: _differences(postgres, clickhouse, DUO_CHAT_EVENTS, days))


@dg.asset_check(asset=code_suggestion_events)
def suggestion_events_equal_source(
    context: dg.AssetCheckExecutionContext, postgres: PostgresResource, clickhouse: ClickHouseResource
) -> dg.AssetCheckResult:
    """ClickHouse holds as many code suggestion events of each day as the source had when copied, and none twice."""
    return check_range(context, lambda days: _differences(postgres, clickhouse, CODE_SUGGESTION_EVENTS, days))


@dg.asset_check(asset=ai_usage_daily)
def figures_count_every_event_once(
    context: dg.AssetCheckExecutionContext, postgres: PostgresResource, clickhouse: ClickHouseResource
) -> dg.AssetCheckResult:
    """The daily figures of each feature add up to its de-duplicated events."""

    def look(days: Sequence[date]) -> Findings:
        with clickhouse.connect(_TAG) as warehouse:
            events = uncounted_events(postgres.store(), warehouse, days)
        return Audited(events.compared, [{"day": day.isoformat(), **asdict(one)} for day, one in events.found])

    return check_range(context, look)


@dg.asset_check(asset=ai_usage_daily)
def ledgers_know_every_day(context: dg.AssetCheckExecutionContext, postgres: PostgresResource) -> dg.AssetCheckResult:
    """Each day that was materialised is in the ledgers of copied and counted days."""

    def look(days: Sequence[date]) -> Findings:
        unrecorded = unrecorded_days(postgres.store(), days)
        found = [{"day": day.isoformat(), "ledger": ledger} for day, ledger in unrecorded.found]
        return Audited(unrecorded.compared, found)

    return check_range(context, look)


def _differences(
    postgres: PostgresResource, clickhouse: ClickHouseResource, source: DaySource, days: Sequence[date]
) -> Findings:
    with clickhouse.connect(_TAG) as warehouse:
        missing = missing_events(postgres.store(), warehouse, source, days)
        repeated = duplicate_events(warehouse, source, days)
    found: list[Finding] = []
    for day in days:
        if day in missing.found:
            found.append({"day": day.isoformat(), **asdict(missing.found[day])})
        if day in repeated:
            found.append({"day": day.isoformat(), "table": source.table, "duplicates": repeated[day]})
    return Audited(missing.compared, found)


NOTHING_LEFT = nothing_left(
    ai_usage_daily,
    "ai_usage",
    ("duo_chat_events", "code_suggestion_events", "ai_usage_daily", "ai_usage_daily_by_day"),
    ("duo_chat_events", "code_suggestion_events"),
)
