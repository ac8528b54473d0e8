"""The frame of every asset check: it chooses the days, asks the check's question, and shows the findings."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timezone
from typing import TypeAlias

import dagster as dg

from analytics_pipeline.config import NotConfigured
from analytics_pipeline.flows.audited import Audited
from analytics_pipeline.orchestration.partitions import days_of
from analytics_pipeline.resources.postgres import LeaseHeld

Finding: TypeAlias = Mapping[str, str | int]
Findings: TypeAlias = Audited[Sequence[Finding]]
_SHOWN = 50


def check_days(
    context: dg.AssetCheckExecutionContext,
    look: Callable[[date], Findings],
    *,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
    at_most: int | None = None,
    about: Callable[[], Mapping[str, int | str]] = dict,
) -> dg.AssetCheckResult:
    """Ask `look` about each day of the run; today, when the check is executed by itself.

    `at_most` bounds the days to the last so many of the run. `about` is asked afterwards: more metadata.
    """

    def look_at_all() -> Findings:
        looks = {day.isoformat(): look(day) for day in days_checked(context)[-(at_most or 0) :]}
        found = [{"day": day, **finding} for day, one in looks.items() for finding in one.found]
        return Audited(sum(one.compared for one in looks.values()), found)

    return check_now(look_at_all, severity=severity, about=about)


def check_now(
    look: Callable[[], Findings],
    *,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
    about: Callable[[], Mapping[str, int | str]] = dict,
) -> dg.AssetCheckResult:
    """Pass when `look` compares something and finds nothing wrong.

    Findings are shown as a table, one row each, and how much was compared. Nothing compared is a warning, never a
    pass: there is nothing, a store is not configured, or another run is working on it.
    """
    try:
        looked = look()
    except NotConfigured as error:
        return _nothing_compared(f"skipped: {error.reason}", str(error), {})
    except LeaseHeld as error:
        return _nothing_compared("skipped: lease_held", str(error), {})
    if not looked.compared and not looked.found:
        return _nothing_compared("nothing to compare", "there is nothing yet that could be", about())
    records = [dg.TableRecord(finding) for finding in looked.found[:_SHOWN]]
    table = {"findings": dg.MetadataValue.table(records)} if records else {}
    metadata = {"compared": looked.compared, "found": len(looked.found), **about(), **table}
    return dg.AssetCheckResult(passed=not looked.found, severity=severity, metadata=metadata)


def _nothing_compared(status: str, why: str, about: Mapping[str, int | str]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=False,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"Nothing was compared: {why}",
        metadata={"compared": 0, "status": status, **about},
    )


def days_checked(context: dg.AssetCheckExecutionContext) -> list[date]:
    """The days of the run, in order; today, when the check is executed by itself."""
    return days_of_run(context) or [datetime.now(timezone.utc).date()]


def days_of_run(context: dg.AssetCheckExecutionContext) -> list[date]:
    """The days of the run, in order; none, when the check is executed by itself."""
    run = context.op_execution_context
    return days_of(context) if run.has_partition_key or run.has_partition_key_range else []
