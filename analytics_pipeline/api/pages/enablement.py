"""The page of enablement: what was switched on, and how far its history is."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from analytics_pipeline.api.access import InScope, Within
from analytics_pipeline.api.pages.frame.panels import Column, Panel, Table, View
from analytics_pipeline.api.pages.frame.rendering import page
from analytics_pipeline.flows.reads import History, histories

ROUTER = APIRouter(include_in_schema=False)

_TONES = {"requested": "warn", "running": "warn", "completed": "good", "failed": "bad"}
_NONE = "No feature was seen switched on yet; the sensor `enablement` looks every 30 seconds (docs/enablement.md)."


@ROUTER.get("/enablement")
def enablement(request: Request, within: InScope) -> Response:
    panel = Panel("histories", "Histories", lambda: shown(within), live_seconds=10, wide=True)
    return page(request, "Enablement", [panel], lead="A feature that is switched on gets its history once.")


def shown(within: Within) -> View:
    """The histories that the caller may see."""
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
    rows = [_row(one) for one in histories(within.stores.postgres, within.scope.tenant)]
    return View(table=Table(columns, rows, _NONE))


def _row(one: History) -> tuple[object, ...]:
    is_given_up = one.state == "failed" and one.switch == "on"
    return (
        one.feature,
        one.scope,
        f"{'good' if one.switch == 'on' else ''}:{one.switch}",
        f"{_TONES[one.state]}:{one.state}",
        f"{one.days_done} of {one.days}",
        "" if one.rows is None else one.rows,
        f"{one.attempt} of {one.last_attempt}",
        one.error,
        f"analytics-pipeline enablement retry {one.feature} {one.scope}" if is_given_up else "",
    )
