"""Outcomes of asset checks, for the ledger `check_outcomes`: others than Dagster read them there."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import dagster as dg

from analytics_pipeline.config import NotConfigured, Settings
from analytics_pipeline.flows.check_outcomes.ledger import Check, CheckLedger, Day, Found
from analytics_pipeline.resources.postgres import postgres


@dataclass(frozen=True)
class Outcomes:
    """One look of a check at some days. `ledger` None: there is no Postgres that could have one."""

    ledger: CheckLedger | None
    began: datetime | None
    days: Sequence[Day]

    @classmethod
    @contextmanager
    def of(
        cls, context: dg.AssetCheckExecutionContext, days: Sequence[Day], severity: dg.AssetCheckSeverity
    ) -> Iterator["Outcomes"]:
        """The look of the check that is executed, which begins now. One that ends in an exception came to nothing."""
        ledger = _ledger(context, severity)
        outcomes = cls(ledger, ledger.begin(days) if ledger else None, days)
        try:
            yield outcomes
        except Exception as error:
            # The text is for whoever reads the run: it may hold what a store said.
            outcomes.stop(f"stopped by {type(error).__name__}")
            raise

    def record(self, found: Sequence[Found]) -> None:
        """Record what was found about the days."""
        if self.ledger and self.began:
            self.ledger.record(self.began, found)

    def stop(self, reason: str) -> None:
        """Record why nothing was found out."""
        if self.ledger and self.began:
            self.ledger.stop(self.began, self.days, reason)


def _ledger(context: dg.AssetCheckExecutionContext, severity: dg.AssetCheckSeverity) -> CheckLedger | None:
    try:
        store = postgres(Settings.load())
    except NotConfigured:
        return None
    (spec,) = context.check_specs
    flow = context.job_def.asset_layer.get(spec.asset_key).group_name
    is_warning = severity is dg.AssetCheckSeverity.WARN
    check = Check(flow, spec.asset_key.to_user_string(), spec.name, "warning" if is_warning else "error")
    return CheckLedger(store, check, context.run.run_id)
