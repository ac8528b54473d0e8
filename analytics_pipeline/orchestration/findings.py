"""The frame of every asset check: it chooses the days, asks the check's question, and shows the findings."""

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timezone
from typing import TypeAlias

import dagster as dg

from analytics_pipeline.config import NotConfigured
from analytics_pipeline.orchestration.partitions import days_of
from analytics_pipeline.resources.postgres import LeaseHeld

Finding: TypeAlias = Mapping[str, str | int]
_SHOWN = 50


def check_days(
    context: dg.AssetCheckExecutionContext,
    look: Callable[[date], Iterable[Finding]],
    *,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
    at_most: int | None = None,
    about: Callable[[], Mapping[str, int | str]] = dict,
) -> dg.AssetCheckResult:
    """Pass when `look` finds nothing on any day of the run; today, when the check is executed by itself.

    `at_most` bounds the days to the last so many of the run. `about` is asked afterwards: more metadata, such as how
    much was compared.
    """
    days = days_checked(context)[-(at_most or 0) :]
    return check_now(
        lambda: [{"day": day.isoformat(), **finding} for day in days for finding in look(day)],
        severity=severity,
        about=about,
    )


def check_now(
    look: Callable[[], Iterable[Finding]],
    *,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
    about: Callable[[], Mapping[str, int | str]] = dict,
) -> dg.AssetCheckResult:
    """Pass when `look` finds nothing.

    Findings are shown as a table, one row each. Stores that are not configured have nothing to be checked; what another
    run is working on cannot be.
    """
    try:
        findings = list(look())
    except NotConfigured as error:
        return dg.AssetCheckResult(passed=True, metadata={"status": f"skipped: {error.reason}"})
    except LeaseHeld as error:
        metadata = {"status": "skipped: lease_held"}
        return dg.AssetCheckResult(passed=True, description=f"Not checked: {error}", metadata=metadata)
    records = [dg.TableRecord(finding) for finding in findings[:_SHOWN]]
    table = {"findings": dg.MetadataValue.table(records)} if records else {}
    return dg.AssetCheckResult(
        passed=not findings, severity=severity, metadata={"found": len(findings), **about(), **table}
    )


def days_checked(context: dg.AssetCheckExecutionContext) -> list[date]:
    """The days of the run, in order; today, when the check is executed by itself."""
    return days_of_run(context) or [datetime.now(timezone.utc).date()]


def days_of_run(context: dg.AssetCheckExecutionContext) -> list[date]:
    """The days of the run, in order; none, when the check is executed by itself."""
    run = context.op_execution_context
    return days_of(context) if run.has_partition_key or run.has_partition_key_range else []
