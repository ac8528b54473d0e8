"""The first page: is each flow fresh and covered, does anything fail, what does it cost, what is there to do first?"""

from collections.abc import Sequence

from fastapi import APIRouter, Request
from fastapi.responses import Response

from analytics_pipeline.api.access import InScope, Within
from analytics_pipeline.api.answers import Told
from analytics_pipeline.api.pages.checks import shown as checks_shown
from analytics_pipeline.api.pages.enablement import shown as histories_shown
from analytics_pipeline.api.pages.frame.panels import Column, Link, Panel, Table, View, asset_page
from analytics_pipeline.api.pages.frame.rendering import page
from analytics_pipeline.config import Settings
from analytics_pipeline.flows.reads import Cost, Freshness, costs, failing, freshness

ROUTER = APIRouter(include_in_schema=False)

_HOURS = 24
# What fills a table that is called otherwise, and every sink.
_ASSETS = {"identities": "identity_snapshots"}
_SINKS = "usage_export"
_NO_LOG = "The server keeps no system.query_log, or has not written any of it yet."
_STEPS = {
    "database_url": "Set DATABASE_URL: the product's Postgres.",
    "clickhouse_url": "Set CLICKHOUSE_URL: where figures are kept.",
}


@ROUTER.get("/")
def overview(request: Request, within: InScope) -> Response:
    panels = [Panel("histories", "Switched on", lambda: histories_shown(within), live_seconds=30, wide=True)]
    if within.scope.is_everything:
        panels = [
            Panel("flows", "Flows", lambda: _flows(within), live_seconds=30, wide=True),
            Panel("failing", "What fails", lambda: _failing(within), live_seconds=30, wide=True),
            Panel("checks", "Checks", lambda: checks_shown(within), live_seconds=30, wide=True),
            *panels,
            Panel("costs", f"Cost of the last {_HOURS} hours", lambda: _costs(within), wide=True),
        ]
    return page(request, "Overview", panels, lead="Times are UTC.")


def _flows(within: Within) -> View:
    settings = within.stores.settings
    steps = to_do(settings)
    found = [] if steps else freshness(within.stores.postgres)
    columns = (
        Column("Flow"),
        Column("Table"),
        Column("State", "word"),
        Column("Days", "days"),
        Column("Missing", "number"),
        Column("Lost", "number"),
        Column("Rows", "number"),
        Column("Last came in", "moment"),
    )
    waiting = "Nothing has come in yet. Materialise a day in Dagster, or switch a feature on: docs/operators-guide.md."
    return View(table=Table(columns, [_flow(settings, one) for one in found], " ".join(steps) or waiting))


def to_do(settings: Settings) -> Sequence[str]:
    """The settings that have to be made before anything can come in."""
    return [step for name, step in _STEPS.items() if getattr(settings, name) is None]


def _flow(settings: Settings, one: Freshness) -> tuple[object, ...]:
    days = " to ".join(sorted({str(day) for day in (one.first_day, one.last_day) if day}))
    rows = "" if one.rows is None else one.rows
    asset = _SINKS if one.flow == _SINKS else _ASSETS.get(one.relation, one.relation)
    address = asset_page(settings, asset)
    table = Link(one.relation, address) if address else one.relation
    return (one.flow, table, _state(one), days, one.missing_days, one.lost_days, rows, one.updated_at or "")


def _state(one: Freshness) -> str:
    if one.lost_days:
        return "bad:has lost days"
    if one.first_day is None:
        return "warn:waiting for its first day"
    return "warn:has gaps" if one.missing_days else "good:complete"


def _failing(within: Within) -> View:
    columns = (Column("Flow"), Column("Whose"), Column("What"), Column("Since", "moment"), Column("Reason"))
    rows = [(one.flow, one.unit, one.what, one.since or "", one.reason) for one in failing(within.stores.postgres)]
    return View(table=Table(columns, rows, "Nothing."))


def _costs(within: Within) -> View:
    found = costs(within.stores.clickhouse, _HOURS)
    columns = (
        Column("Organisation"),
        Column("Flow"),
        Column("Statements", "number"),
        Column("Rows read", "number"),
        Column("Read", "bytes"),
        Column("Rows written", "number"),
        Column("Time", "seconds"),
    )
    told = Told("query_log", reason=_NO_LOG) if found is None else None
    return View(table=Table(columns, [_cost(one) for one in found or ()], ""), told=told)


def _cost(one: Cost) -> tuple[object, ...]:
    whose = "shared" if one.organisation is None else str(one.organisation)
    return (whose, one.flow, one.statements, one.rows_read, one.bytes_read, one.rows_written, one.seconds)
