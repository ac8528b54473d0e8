"""Checks of the usage export: nothing waits too long, nothing is refused, and what left has arrived."""

import random
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone

import dagster as dg

from analytics_pipeline.assets.usage_export import usage_export
from analytics_pipeline.config import Settings
from analytics_pipeline.flows.audited import Audited
from analytics_pipeline.flows.usage_export.audit import (
    Stretch,
    bookmarks_ahead,
    dead_letters,
    missing_in_clickhouse,
    stretches,
    waiting_too_long,
)
from analytics_pipeline.orchestration.findings import Finding, Findings, NotAsked, check_now
from analytics_pipeline.orchestration.forgotten import nothing_left
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

    return check_now(context, look)


@dg.asset_check(asset=usage_export)
def bookmarks_are_in_the_log(context: dg.AssetCheckExecutionContext, postgres: PostgresResource) -> dg.AssetCheckResult:
    """No bookmark lies behind the newest committed event: nothing more would leave. Repair: `export start --again`."""

    def look() -> Findings:
        ahead = bookmarks_ahead(postgres.store())
        return Audited(ahead.compared, [asdict(one) for one in ahead.found])

    return check_now(context, look)


@dg.asset_check(asset=usage_export)
def no_dead_letters(context: dg.AssetCheckExecutionContext, postgres: PostgresResource) -> dg.AssetCheckResult:
    """No record was refused by its receiver. `export dead-letters` lists them; `export replay` sends them again."""

    def look() -> Findings:
        letters = dead_letters(postgres.store())
        return Audited(letters.compared, [{"sink": sink, "records": count} for sink, count in letters.found.items()])

    return check_now(context, look, severity=dg.AssetCheckSeverity.WARN)


@dg.asset_check(asset=usage_export)
def clickhouse_holds_what_it_acknowledged(
    context: dg.AssetCheckExecutionContext, postgres: PostgresResource, clickhouse: ClickHouseResource
) -> dg.AssetCheckResult:
    """The table exported_events holds the batches that it acknowledged in the last 30 days, and the log's events.

    Each run looks at the newest 100,000 records, and at another stretch of as many, by chance: so all come round.
    """
    found = list[tuple[str, Stretch]]()

    def look() -> Findings:
        ours = [sink.name for sink in Settings.load().sinks if sink.parts.scheme == "clickhouse"]
        if not ours:
            raise NotAsked("not asked for", "No sink of EXPORT_SINKS is our ClickHouse, so nothing has to be there")
        found.extend((sink, stretch) for sink in ours for stretch in stretches(postgres.store(), sink))
        looks = []
        with clickhouse.connect(Tag("usage_export", "check")) as warehouse:
            for sink, stretch in _some(found):
                missing = missing_in_clickhouse(postgres.store(), warehouse, sink, stretch)
                looks.append(Audited(missing.compared, [{"sink": sink, **asdict(one)} for one in missing.found]))
        return Audited(sum(one.compared for one in looks), [finding for one in looks for finding in one.found])

    return check_now(
        context,
        look,
        about=lambda: {"records_in_all": sum(one.records for _, one in found), "stretches_in_all": len(found)},
    )


def _some(found: Sequence[tuple[str, Stretch]]) -> Sequence[tuple[str, Stretch]]:
    """The newest, and one of the others."""
    return [*found[:1], *random.sample(found[1:], min(1, len(found) - 1))] if found else []


NOTHING_LEFT = nothing_left(
    usage_export,
    "usage_export",
    ("exported_events",),
)
