"""Checks of the usage export: nothing waits too long, nothing is refused, and what left has arrived."""

from dataclasses import asdict
from datetime import datetime, timezone

import dagster as dg

from analytics_pipeline.assets.usage_export import usage_export
from analytics_pipeline.config import Settings
from analytics_pipeline.flows.audited import Audited
from analytics_pipeline.flows.usage_export.audit import (
    bookmarks_ahead,
    dead_letters,
    missing_in_clickhouse,
    waiting_too_long,
)
from analytics_pipeline.orchestration.findings import Finding, Findings, check_now
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.configurable import ClickHouseResource, PostgresResource


@dg.asset_check(asset=usage_export)
def nothing_waits_too_long(context: dg.AssetCheckExecutionContext, postgres: PostgresResource) -> dg.AssetCheckResult:
    """No sink has an allowed event that has waited for an hour; paused ones are meant to wait."""

    def look() -> Findings:
        late = waiting_too_long(postgres.store(), datetime.now(timezone.utc))
        found: list[Finding] = [
            {"sink": one.sink, "oldest": one.oldest_at.isoformat(), "events": one.events, "why": one.why}
            for one in late.found
        ]
        return Audited(late.compared, found)

    return check_now(look)


@dg.asset_check(asset=usage_export)
def bookmarks_are_in_the_log(context: dg.AssetCheckExecutionContext, postgres: PostgresResource) -> dg.AssetCheckResult:
    """No bookmark lies behind the newest committed event: nothing more would leave. Repair: `export start --again`."""

    def look() -> Findings:
        ahead = bookmarks_ahead(postgres.store())
        return Audited(ahead.compared, [asdict(one) for one in ahead.found])

    return check_now(look)


@dg.asset_check(asset=usage_export)
def no_dead_letters(context: dg.AssetCheckExecutionContext, postgres: PostgresResource) -> dg.AssetCheckResult:
    """No record was refused by its receiver. `export dead-letters` lists them; `export replay` sends them again."""

    def look() -> Findings:
        letters = dead_letters(postgres.store())
        return Audited(letters.compared, [{"sink": sink, "records": count} for sink, count in letters.found.items()])

    return check_now(look, severity=dg.AssetCheckSeverity.WARN)


@dg.asset_check(asset=usage_export)
def clickhouse_holds_what_it_acknowledged(
    context: dg.AssetCheckExecutionContext, postgres: PostgresResource, clickhouse: ClickHouseResource
) -> dg.AssetCheckResult:
    """The table exported_events holds the log's allowed events, as far as they were sent there lately."""

    def look() -> Findings:
        ours = [sink.name for sink in Settings.load().sinks if sink.parts.scheme == "clickhouse"]
        compared, found = 0, list[Finding]()
        with clickhouse.connect(Tag("usage_export", "check")) as warehouse:
            for sink in ours:
                missing = missing_in_clickhouse(postgres.store(), warehouse, sink)
                compared += missing.compared
                found += [{"sink": sink, **asdict(one)} for one in missing.found]
        return Audited(compared, found)

    return check_now(look)
