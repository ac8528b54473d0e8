"""The pipeline itself: how fresh its flows are, what fails, what became of histories, what organisations cost."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Query

from analytics_pipeline.api.access import InScope, Instance
from analytics_pipeline.api.answers import Listing, Told, listing
from analytics_pipeline.api.paging import Paged, cut, taken
from analytics_pipeline.flows.check_outcomes.reads import (
    CheckOutcome,
    CheckState,
    Outcome,
    check_outcomes,
    check_states,
)
from analytics_pipeline.flows.reads import Cost, Failing, Freshness, History, costs, failing, freshness, histories

ROUTER = APIRouter(tags=["pipeline"])
_NO_LOG = "the server keeps no system.query_log, or has not written any of it yet"
_LEDGERS = Told("ledger")
OfOutcome = Annotated[Outcome | None, Query(description="Only those that came to this.", examples=["failed"])]

_FRESH = {
    "flow": "reporting",
    "relation": "reporting_rollups",
    "first_day": "2026-01-01",
    "last_day": "2026-11-27",
    "held_days": 331,
    "lost_days": 0,
    "missing_days": 0,
    "rows": 120000,
    "updated_at": "2026-11-27T09:00:00Z",
}


@listing(ROUTER, "/pipeline/freshness", Freshness, _FRESH)
def pipeline_freshness(stores: Instance, page: Paged) -> Listing[Freshness]:
    """Each relation of ClickHouse: its days, those it lacks, and when one last came in."""
    rows = freshness(stores.postgres)
    return Listing(cut(rows, page, lambda row: (row.flow, row.relation), tuple[str, str]), _LEDGERS)


_FAILED = {
    "flow": "segments",
    "unit": "project:10",
    "what": "2026-11-27",
    "since": "2026-11-27T06:00:00Z",
    "reason": "counting was stopped after the 600 s that a project has",
}


@listing(ROUTER, "/pipeline/failing", Failing, _FAILED)
def pipeline_failing(stores: Instance, page: Paged) -> Listing[Failing]:
    """Everything that the ledgers know to have failed and that nothing has repaired; for asset checks see checks."""
    rows = failing(stores.postgres)
    return Listing(cut(rows, page, lambda row: (row.flow, row.unit, row.what), tuple[str, str, str]), _LEDGERS)


_CHECKED = {
    "flow": "reporting",
    "asset": "reporting_rollups",
    "check": "rollups_equal_events",
    "outcome": "failed",
    "severity": "error",
    "failing_days": 1,
    "first_failing_day": "2026-11-26",
    "last_failing_day": "2026-11-26",
    "failing_since": "2026-11-27T08:00:00Z",
    "compared": 1200,
    "found": 3,
    "reason": None,
    "checked_at": "2026-11-27T09:00:00Z",
    "run_id": "0b6f0c4e-7d0a-4b43-8f3a-8d0f5b1c2e11",
}


@listing(ROUTER, "/pipeline/checks", CheckState, _CHECKED)
def pipeline_checks(stores: Instance, page: Paged, outcome: OfOutcome = None) -> Listing[CheckState]:
    """The asset checks that were ever executed, and whether each passes: a check fails while one of its days does."""
    found = check_states(stores.postgres, stores.settings.flows)
    rows = [one for one in found if outcome in (None, one.outcome)]
    return Listing(cut(rows, page, lambda row: (row.asset, row.check), tuple[str, str]), _LEDGERS)


_CHECKED_DAY = {
    "flow": "reporting",
    "asset": "reporting_rollups",
    "check": "rollups_equal_events",
    "day": "2026-11-26",
    "outcome": "failed",
    "severity": "error",
    "compared": 1200,
    "found": 3,
    "reason": None,
    "failing_since": "2026-11-27T08:00:00Z",
    "checked_at": "2026-11-27T09:00:00Z",
    "run_id": "0b6f0c4e-7d0a-4b43-8f3a-8d0f5b1c2e11",
}


@listing(ROUTER, "/pipeline/checks/days", CheckOutcome, _CHECKED_DAY)
def pipeline_checks_days(stores: Instance, page: Paged, outcome: OfOutcome = None) -> Listing[CheckOutcome]:
    """The latest outcome of each asset check, day by day; Dagster shows what the run `run_id` found."""
    after = page.after(tuple[str, str, date])
    rows = check_outcomes(stores.postgres, stores.settings.flows, outcome, after, page.limit + 1)
    return Listing(taken(rows, page, lambda row: row.place), _LEDGERS)


_COST = {
    "organisation": 1,
    "flow": "segments",
    "statements": 40,
    "rows_read": 1000000,
    "bytes_read": 90000000,
    "rows_written": 1000,
    "seconds": 3.5,
}


@listing(ROUTER, "/pipeline/costs", Cost, _COST)
def pipeline_costs(
    stores: Instance,
    page: Paged,
    hours: Annotated[int, Query(ge=1, le=720, description="How far back.", examples=[24])] = 24,
) -> Listing[Cost]:
    """Statements of ClickHouse by organisation and flow; null is what is nobody's alone."""
    rows = costs(stores.clickhouse, hours)
    told = Told("query_log", reason=_NO_LOG if rows is None else None)
    return Listing(cut(rows or [], page, _place, tuple[bool, int, str]), told)


def _place(row: Cost) -> tuple[bool, int, str]:
    return row.organisation is not None, row.organisation or 0, row.flow


_HISTORY = {
    "feature": "reporting",
    "scope": "account:7",
    "epoch": 1,
    "switch": "on",
    "state": "completed",
    "first_day": "2026-01-01",
    "last_day": "2026-11-26",
    "days": 330,
    "days_done": 330,
    "rows": 120000,
    "attempt": 1,
    "last_attempt": 8,
    "requested_at": "2026-11-27T08:00:00Z",
    "completed_at": "2026-11-27T08:05:00Z",
    "error": "",
}


@listing(ROUTER, "/enablements", History, _HISTORY)
def enablements(within: InScope, page: Paged) -> Listing[History]:
    """The newest epoch of every feature that was switched on, within the token's scope: how far its history is."""
    rows = histories(within.stores.postgres, within.scope.tenant)
    return Listing(cut(rows, page, lambda row: (row.feature, row.scope), tuple[str, str]), _LEDGERS)
