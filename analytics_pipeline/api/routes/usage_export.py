"""The usage export: how far each sink is, what was delivered, and what no receiver will take."""

from typing import Annotated

from fastapi import APIRouter, Query

from analytics_pipeline.api.access import Instance
from analytics_pipeline.api.answers import Listing, Told, listing
from analytics_pipeline.api.paging import Paged, cut, taken
from analytics_pipeline.flows.usage_export.reads import (
    DeadRecord,
    Delivery,
    SinkStatus,
    dead_records,
    deliveries,
    statuses,
)

ROUTER = APIRouter(tags=["usage export"], prefix="/usage-export")
SinkName = Annotated[str | None, Query(max_length=200, description="One sink; all without it.", examples=["warehouse"])]
_LEDGER = Told("ledger")

_SINK = {
    "sink": "warehouse",
    "state": "up to date",
    "bookmark_id": 120000,
    "backlog": 0,
    "oldest_pending_at": None,
    "last_success_at": "2026-11-27T09:00:00Z",
    "exported": 118000,
    "failed": 2,
    "awaited": 0,
    "consecutive_failures": 0,
    "last_error": "",
    "next_attempt_at": None,
    "past": [],
}


@listing(ROUTER, "/sinks", SinkStatus, _SINK)
def sinks(stores: Instance, page: Paged) -> Listing[SinkStatus]:
    """Each sink's state, how far it has been served, and what waits for it."""
    found = statuses(stores.postgres, [sink.name for sink in stores.settings.sinks])
    rows = sorted(found, key=lambda row: row.sink)
    return Listing(cut(rows, page, lambda row: (row.sink,), tuple[str]), _LEDGER)


_DELIVERY = {
    "id": 17,
    "sink": "warehouse",
    "kind": "live",
    "first_id": 1,
    "last_id": 100,
    "records": 98,
    "failed": 2,
    "bytes": 40000,
    "status": "delivered",
    "error": "",
    "attempts": 1,
    "started_at": "2026-11-27T09:00:00Z",
    "ended_at": "2026-11-27T09:00:01Z",
}


@listing(ROUTER, "/deliveries", Delivery, _DELIVERY)
def export_deliveries(stores: Instance, page: Paged, sink: SinkName = None) -> Listing[Delivery]:
    """Batches of the last 30 days, the newest first."""
    after = page.after(tuple[int])
    rows = deliveries(stores.postgres, sink, after and after[0], page.limit + 1)
    return Listing(taken(rows, page, lambda row: (row.id,)), _LEDGER)


_DEAD = {"id": 9, "sink": "warehouse", "event_log_id": 77, "reason": "too large", "recorded_at": "2026-11-27T09:00:00Z"}


@listing(ROUTER, "/dead-records", DeadRecord, _DEAD)
def export_dead_records(stores: Instance, page: Paged, sink: SinkName = None) -> Listing[DeadRecord]:
    """Events whose record a receiver will never take, and why; the newest first."""
    after = page.after(tuple[int])
    rows = dead_records(stores.postgres, sink, after and after[0], page.limit + 1)
    return Listing(taken(rows, page, lambda row: (row.id,)), _LEDGER)
