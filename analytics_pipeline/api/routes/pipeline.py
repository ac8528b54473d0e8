"""The pipeline itself: how fresh its flows are, what fails, what became of histories, what organisations cost."""

from typing import Annotated

from fastapi import APIRouter, Query

from analytics_pipeline.api.access import InScope, Instance
from analytics_pipeline.api.answers import Listing, Told, listing
from analytics_pipeline.api.paging import Paged, cut
from analytics_pipeline.flows.reads import Cost, Failing, Freshness, History, costs, failing, freshness, histories

ROUTER = APIRouter(tags=["pipeline"])
_NO_LOG = "the server keeps no system.query_log, or has not written any of it yet"
_LEDGERS = Told("ledger")

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
    """Everything that the ledgers know to have failed and that nothing has repaired. Dagster has the asset checks."""
    rows = failing(stores.postgres)
    return Listing(cut(rows, page, lambda row: (row.flow, row.unit, row.what), tuple[str, str, str]), _LEDGERS)


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
    return Listing(cut(rows or [], page, lambda row: (row.organisation or -1, row.flow), tuple[int, str]), told)


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
