"""Checks of reporting: the events are those of the source, and the rollups are those of the events."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date, datetime, timedelta, timezone

import dagster as dg

from analytics_pipeline.assets.reporting import reporting_events, reporting_rollups
from analytics_pipeline.config import Settings
from analytics_pipeline.flows.audited import Audited
from analytics_pipeline.flows.reporting import audit
from analytics_pipeline.orchestration.findings import Findings, check_days, check_now, check_range, days_of_run
from analytics_pipeline.orchestration.forgotten import nothing_left
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.configurable import ClickHouseResource, PostgresResource

_TAG = Tag("reporting", "check")
# The last days of a long range are compared, this many. The history before them was compared when it came in.
DAYS_COMPARED = 10
# How far from a run's days its holes are looked for.
_NEIGHBOURS = timedelta(days=7)
_LAG_ALLOWED = timedelta(minutes=10)


@dg.asset_check(asset=reporting_events)
def events_equal_source(
    context: dg.AssetCheckExecutionContext, postgres: PostgresResource, clickhouse: ClickHouseResource
) -> dg.AssetCheckResult:
    """ClickHouse holds as many events of each day as its copy had, and as the source has now.

    A warning: events that arrive meanwhile are found by the sensor; what was deleted from an old day is found here.
    """

    def look(days: Sequence[date]) -> Findings:
        with clickhouse.connect(_TAG) as warehouse:
            copies = audit.copy_differences(postgres.store(), warehouse, days)
        return Audited(copies.compared, [{"day": day.isoformat(), **asdict(one)} for day, one in copies.found.items()])

    return check_range(context, look, severity=dg.AssetCheckSeverity.WARN)


@dg.asset_check(asset=reporting_rollups)
def rollups_equal_events(
    context: dg.AssetCheckExecutionContext, postgres: PostgresResource, clickhouse: ClickHouseResource
) -> dg.AssetCheckResult:
    """Every count and average of the date is what the raw events give by another statement than the rollups' own."""

    def look(day: date) -> Findings:
        with clickhouse.connect(_TAG) as warehouse:
            account_days = audit.rollup_differences(postgres.store(), warehouse, day)
        return Audited(account_days.compared, [asdict(difference) for difference in account_days.found])

    return check_days(context, look, at_most=DAYS_COMPARED)


@dg.asset_check(asset=reporting_rollups)
def no_impossible_rollups(
    context: dg.AssetCheckExecutionContext, postgres: PostgresResource, clickhouse: ClickHouseResource
) -> dg.AssetCheckResult:
    """No rollup row counts nothing or less, and none belongs to an account that the ledger does not cover."""

    def look(day: date) -> Findings:
        with clickhouse.connect(_TAG) as warehouse:
            return audit.orphans(warehouse, postgres.store(), day)

    return check_days(context, look, at_most=DAYS_COMPARED)


@dg.asset_check(asset=reporting_rollups)
def no_uncovered_days(context: dg.AssetCheckExecutionContext, postgres: PostgresResource) -> dg.AssetCheckResult:
    """No account has a day without rollup between days that have one.

    A run looks at its own days and the week around them, the check by itself at all that was ever rolled up.
    """

    def look(days: Sequence[date]) -> Findings:
        gaps = audit.gaps(postgres.store(), days)
        return Audited(gaps.compared, [{"day": day.isoformat(), "account": account} for account, day in gaps.found])

    return check_range(context, look, days=_around(days_of_run(context)))


def _around(days: Sequence[date]) -> list[date]:
    """These days and the week before and after them; when there are none, all that there can be rollups of."""
    today = datetime.now(timezone.utc).date()
    first = days[0] - _NEIGHBOURS if days else Settings.load().start_of("reporting")
    last = (days[-1] if days else today) + _NEIGHBOURS
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


@dg.asset_check(asset=reporting_events)
def changes_are_followed(context: dg.AssetCheckExecutionContext, postgres: PostgresResource) -> dg.AssetCheckResult:
    """The newest change that was copied is at most ten minutes older than the newest of the source. A warning."""

    def look() -> Findings:
        lag = audit.lag(postgres.store())
        found = [{"behind_seconds": int(lag.total_seconds())}] if lag and lag > _LAG_ALLOWED else []
        return Audited(int(lag is not None), found)

    return check_now(context, look, severity=dg.AssetCheckSeverity.WARN)


NOTHING_LEFT = nothing_left(
    reporting_rollups,
    "reporting",
    (
        "reporting_events",
        "reporting_rollups",
        "reporting_rollups_by_day",
        "reporting_day_bounds",
        "reporting_day_bounds_by_day",
        "reporting_coverage",
        "enablements",
        "api_tokens",
    ),
    ("reporting_events", "source"),
)
