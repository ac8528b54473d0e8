"""The page of enablement: what was switched on, and how far its history is."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from analytics_pipeline.api.access import Instance
from analytics_pipeline.api.pages.panels import Column, Panel, Table, View
from analytics_pipeline.api.pages.rendering import page
from analytics_pipeline.api.stores import Stores
from analytics_pipeline.flows.enablement.epochs import Epoch
from analytics_pipeline.flows.enablement.ledger import EnablementLedger
from analytics_pipeline.flows.features import days_done

ROUTER = APIRouter(include_in_schema=False)

_TONES = {"requested": "warn", "running": "warn", "completed": "good", "failed": "bad"}
_NONE = "No feature was seen switched on yet; the sensor `enablement` looks every 30 seconds."


@ROUTER.get("/enablement")
def enablement(request: Request, stores: Instance) -> Response:
    panel = Panel("histories", "Histories", lambda: _histories(stores), live_seconds=10, wide=True)
    return page(request, "Enablement", [panel], lead="A feature that is switched on gets its history once.")


def _histories(stores: Stores) -> View:
    columns = (
        Column("Feature"),
        Column("Scope"),
        Column("Switch", "word"),
        Column("History", "word"),
        Column("Days done"),
        Column("Rows", "number"),
        Column("Attempt"),
        Column("Last error"),
        Column("What to do", "code"),
    )
    rows = [_row(stores, epoch) for epoch in EnablementLedger(stores.postgres).all()]
    return View(table=Table(columns, rows, _NONE))


def _row(stores: Stores, epoch: Epoch) -> tuple[object, ...]:
    is_on = epoch.closed_at is None
    given_up = epoch.state == "failed" and is_on
    return (
        epoch.feature,
        epoch.scope,
        "good:on" if is_on else ":off",
        f"{_TONES[epoch.state]}:{epoch.state}",
        f"{len(days_done(stores.postgres, epoch))} of {len(epoch.days)}",
        epoch.rows if epoch.rows is not None else "",
        f"{epoch.attempt} of {epoch.last_attempt}",
        epoch.error,
        f"analytics-pipeline enablement retry {epoch.feature} {epoch.scope}" if given_up else "",
    )
