"""Checks of product events: figures say what the events say, each event is there once, and goes when it should."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import date, datetime, timezone

import dagster as dg

from analytics_pipeline.assets.product_events import ALL, analytics_events
from analytics_pipeline.config import Settings
from analytics_pipeline.flows.audited import Audited
from analytics_pipeline.flows.product_events.aggregates.tables import AGGREGATES, Aggregate
from analytics_pipeline.flows.product_events.audit import (
    SKEW,
    expired_days,
    figure_differences,
    lost_events,
    refused_events,
    repeated_events,
    skewed_events,
)
from analytics_pipeline.orchestration.findings import Finding, Findings, check_now, check_range, days_checked
from analytics_pipeline.orchestration.forgotten import nothing_left
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.configurable import ClickHouseResource, PostgresResource

_TAG = Tag("product_events", "check")
# Shares of events above which a service has a fault that somebody should look at.
_SKEWED_ALLOWED = 0.05
_REFUSED_ALLOWED = 0.01


def _equal_events(aggregate: Aggregate, asset: dg.AssetsDefinition) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=asset,
        name="figures_equal_events",
        description="Each organisation's figures of the days are what its events give by another statement. Compared"
        " are days whose events are all there still.",
    )
    def check(
        context: dg.AssetCheckExecutionContext, postgres: PostgresResource, clickhouse: ClickHouseResource
    ) -> dg.AssetCheckResult:
        def look(days: Sequence[date]) -> Findings:
            with clickhouse.connect(_TAG) as warehouse:
                figures = figure_differences(postgres.store(), warehouse, aggregate, days)
            found = [{**asdict(one), "day": one.day.isoformat(), "figures": str(one.figures)} for one in figures.found]
            return Audited(figures.compared, [{**one, "events": str(one["events"])} for one in found])

        return check_range(context, look)

    return check


FIGURES_EQUAL_EVENTS = tuple(_equal_events(*one) for one in zip(AGGREGATES, ALL, strict=True))


@dg.asset_check(asset=analytics_events.key)
def no_event_twice(context: dg.AssetCheckExecutionContext, clickhouse: ClickHouseResource) -> dg.AssetCheckResult:
    """No id of an organisation is seen twice, on whichever days. Of very many events a part is looked at each hour."""

    def look(warehouse: ClickHouse) -> Findings:
        repeats = repeated_events(warehouse, datetime.now(timezone.utc))
        found = [{"organisation": one, "repeated": number} for one, number in repeats.found.items()]
        return Audited(repeats.compared, found)

    return _checked(context, clickhouse, look)


@dg.asset_check(asset=analytics_events.key)
def retention_holds(context: dg.AssetCheckExecutionContext, clickhouse: ClickHouseResource) -> dg.AssetCheckResult:
    """No event is older than EVENT_RETENTION_DAYS and the two days that it may take to drop it."""

    def look(warehouse: ClickHouse) -> Findings:
        expired = expired_days(warehouse, _today(), Settings.load().event_retention_days)
        return Audited(expired.compared, [{"day": day.isoformat()} for day in expired.found])

    return _checked(context, clickhouse, look)


@dg.asset_check(asset=analytics_events.key)
def no_event_lost(
    context: dg.AssetCheckExecutionContext, postgres: PostgresResource, clickhouse: ClickHouseResource
) -> dg.AssetCheckResult:
    """The store holds as many events of each day within retention as the day's figures are of.

    A day that lacks some keeps its figures. To compute them of what is left, run its aggregates with `even_if_fewer`.
    """

    def look(warehouse: ClickHouse) -> Findings:
        lost = lost_events(postgres.store(), warehouse, _today(), Settings.load().event_retention_days)
        found: list[Finding] = [
            {"day": f"{day}", "figures_of": known, "held": held} for day, (known, held) in lost.found.items()
        ]
        return Audited(lost.compared, found)

    return _checked(context, clickhouse, look)


@dg.asset_check(asset=analytics_events.key)
def clocks_agree(context: dg.AssetCheckExecutionContext, clickhouse: ClickHouseResource) -> dg.AssetCheckResult:
    """At most 5 % of the days' events were sent by a client whose clock was more than a minute off. A warning."""

    def look(warehouse: ClickHouse) -> Findings:
        skewed = skewed_events(warehouse, days_checked(context))
        found: list[Finding] = [
            {"events": skewed.events, "most_of_service": skewed.service, "beyond_seconds": SKEW.seconds}
        ]
        return Audited(skewed.of_all, found if skewed.share > _SKEWED_ALLOWED else [])

    return _checked(context, clickhouse, look, dg.AssetCheckSeverity.WARN)


@dg.asset_check(asset=analytics_events.key)
def few_events_refused(
    context: dg.AssetCheckExecutionContext, postgres: PostgresResource, clickhouse: ClickHouseResource
) -> dg.AssetCheckResult:
    """At most 1 % of what the days brought became dead letters. `events dead-letters list` shows them. A warning."""

    def look(warehouse: ClickHouse) -> Findings:
        refused = refused_events(postgres.store(), warehouse, days_checked(context))
        found: list[Finding] = [{"dead_letters": refused.events}]
        return Audited(refused.of_all, found if refused.share > _REFUSED_ALLOWED else [])

    return _checked(context, clickhouse, look, dg.AssetCheckSeverity.WARN)


def _checked(
    context: dg.AssetCheckExecutionContext,
    clickhouse: ClickHouseResource,
    look: Callable[[ClickHouse], Findings],
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
) -> dg.AssetCheckResult:
    def in_store() -> Findings:
        with clickhouse.connect(_TAG) as warehouse:
            return look(warehouse)

    return check_now(context, in_store, severity=severity)


def _today() -> date:
    return datetime.now(timezone.utc).date()


NOTHING_LEFT = nothing_left(
    analytics_events.key,
    "product_events",
    ("analytics_events", "analytics_event_ids", *(aggregate.name for aggregate in AGGREGATES)),
    ("product_events",),
)
