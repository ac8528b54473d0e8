"""The frame of every asset check: it chooses the days, asks the question, and shows and records the findings."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timezone
from typing import TypeAlias

import dagster as dg

from analytics_pipeline.config import NotConfigured
from analytics_pipeline.flows.audited import Audited
from analytics_pipeline.flows.check_outcomes.ledger import Day, Found
from analytics_pipeline.orchestration.outcomes import Outcomes
from analytics_pipeline.orchestration.partitions import days_of
from analytics_pipeline.resources.postgres import LeaseHeld

Finding: TypeAlias = Mapping[str, str | int]
Findings: TypeAlias = Audited[Sequence[Finding]]
_SHOWN = 50


class NotAsked(Exception):
    """The question of a check does not arise here, so nothing has to be compared for it to pass.

    `status` says that in a word or two, the text in a sentence.
    """

    def __init__(self, status: str, text: str) -> None:
        self.status = status
        super().__init__(text)


@dataclass(frozen=True)
class _Looked:
    """Everything that a check found, and what it found about each of the days that it looked at."""

    all: Findings
    of_days: Mapping[Day, Findings]

    def recorded(self) -> list[Found]:
        return [_recorded(day, one) for day, one in self.of_days.items()]


def _recorded(day: Day, looked: Findings) -> Found:
    if not looked.compared and not looked.found:
        return Found(day, "unknown", reason="nothing to compare")
    return Found(day, "failed" if looked.found else "passed", looked.compared, len(looked.found))


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
    days = days_checked(context)[-(at_most or 0) :]

    def look_at_all() -> _Looked:
        looks = [(day, look(day)) for day in days]
        found = [{"day": day.isoformat(), **finding} for day, one in looks for finding in one.found]
        return _Looked(Audited(sum(one.compared for _, one in looks), found), dict(looks))

    return _check(context, days, look_at_all, severity, about)


def check_range(
    context: dg.AssetCheckExecutionContext,
    look: Callable[[Sequence[date]], Findings],
    *,
    days: Sequence[date] | None = None,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
) -> dg.AssetCheckResult:
    """Ask `look` once about all these days; by itself those of the run, or today, when there is no run of days.

    Each finding says of which `day` it is.
    """
    looked_at = days or days_checked(context)

    def look_at_all() -> _Looked:
        looked = look(looked_at)
        of_days: dict[Day, list[Finding]] = {day: [] for day in looked_at}
        for one in looked.found:
            of_days.setdefault(date.fromisoformat(str(one["day"])), []).append(one)
        return _Looked(looked, {day: Audited(looked.compared, found) for day, found in of_days.items()})

    return _check(context, looked_at, look_at_all, severity, dict)


def check_now(
    context: dg.AssetCheckExecutionContext,
    look: Callable[[], Findings],
    *,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
    about: Callable[[], Mapping[str, int | str]] = dict,
) -> dg.AssetCheckResult:
    """Ask `look` about everything that there is: its latest outcome holds, whichever days the run is of.

    `look` raises NotAsked where the question does not arise.
    """

    def look_at_all() -> _Looked:
        looked = look()
        return _Looked(looked, {None: looked})

    return _check(context, [None], look_at_all, severity, about)


def _check(
    context: dg.AssetCheckExecutionContext,
    days: Sequence[Day],
    look: Callable[[], _Looked],
    severity: dg.AssetCheckSeverity,
    about: Callable[[], Mapping[str, int | str]],
) -> dg.AssetCheckResult:
    """Pass when `look` compares something and finds nothing wrong; record it.

    Findings are shown as a table, one row each, and how much was compared. Nothing compared is a warning, never a
    pass: there is nothing, a store is not configured, or another run is working on it.
    """
    with Outcomes.of(context, days, severity) as outcomes:
        try:
            looked = look()
        except NotAsked as error:
            outcomes.record([Found(day, "passed", reason=error.status) for day in days])
            return _not_asked(error)
        except NotConfigured as error:
            outcomes.stop(error.reason)
            return _nothing_compared(f"skipped: {error.reason}", str(error), {})
        except LeaseHeld as error:
            outcomes.stop("lease_held")
            return _nothing_compared("skipped: lease_held", str(error), {})
        outcomes.record(looked.recorded())
    return _result(looked.all, severity, about())


def _result(looked: Findings, severity: dg.AssetCheckSeverity, about: Mapping[str, int | str]) -> dg.AssetCheckResult:
    if not looked.compared and not looked.found:
        return _nothing_compared("nothing to compare", "there is nothing yet that could be", about)
    records = [dg.TableRecord(finding) for finding in looked.found[:_SHOWN]]
    table = {"findings": dg.MetadataValue.table(records)} if records else {}
    metadata = {"compared": looked.compared, "found": len(looked.found), **about, **table}
    return dg.AssetCheckResult(passed=not looked.found, severity=severity, metadata=metadata)


def _not_asked(why: NotAsked) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True, description=str(why), metadata={"compared": 0, "status": why.status})


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
