"""The page of the usage export: what each sink has and lacks, what was sent last, and what will never be taken."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from analytics_pipeline.api.access import Instance
from analytics_pipeline.api.pages.frame.panels import Column, Panel, Table, View
from analytics_pipeline.api.pages.frame.rendering import page
from analytics_pipeline.api.stores import Stores
from analytics_pipeline.flows.usage_export.deliveries import recent
from analytics_pipeline.flows.usage_export.reads import dead_records, statuses

ROUTER = APIRouter(include_in_schema=False)

_TONES = {
    "up to date": "good",
    "behind": "warn",
    "waiting to begin": "warn",
    "paused": "warn",
    "failing": "bad",
    "not configured": "",
}
_DELIVERIES, _DEAD = 20, 20


@ROUTER.get("/usage-export")
def usage_export(request: Request, stores: Instance) -> Response:
    panels = [
        Panel("sinks", "Sinks", lambda: _sinks(stores), live_seconds=10, wide=True),
        Panel("deliveries", "Newest deliveries", lambda: _deliveries(stores), live_seconds=10, wide=True),
        Panel("dead-letters", "Records that no receiver takes", lambda: _dead_letters(stores), wide=True),
    ]
    return page(request, "Usage export", panels, lead="Allow-listed events on their way out, at least once.")


_NOTHING_SENT = (
    "Nothing was sent yet. Events leave once EXPORT_USAGE_DATA_ENABLED is set for Dagster and their names are allowed:"
    " analytics-pipeline export allowlist"
)


def _sinks(stores: Stores) -> View:
    found = statuses(stores.postgres, [sink.name for sink in stores.settings.sinks])
    columns = (
        Column("Sink"),
        Column("State", "word"),
        Column("Waiting", "number"),
        Column("Oldest of them", "moment"),
        Column("Sent", "number"),
        Column("Refused", "number"),
        Column("Last success", "moment"),
        Column("Last error"),
    )
    rows = [
        (
            one.sink,
            f"{_TONES[one.state]}:{one.state}",
            one.backlog,
            one.oldest_pending_at or "",
            one.exported,
            one.failed,
            one.last_success_at or "",
            one.last_error,
        )
        for one in found
    ]
    return View(table=Table(columns, rows, "There is no sink: EXPORT_SINKS names them (docs/usage-export.md)."))


def _deliveries(stores: Stores) -> View:
    columns = (
        Column("Sink"),
        Column("Events"),
        Column("Records", "number"),
        Column("Bytes", "bytes"),
        Column("Status", "word"),
        Column("Began", "moment"),
        Column("Error"),
    )
    rows = [
        (
            one.sink,
            f"{one.first_id} to {one.last_id}",
            one.records,
            one.bytes,
            f"{'good' if one.status == 'delivered' else 'warn'}:{one.status}",
            one.started_at,
            one.error,
        )
        for one in recent(stores.postgres, None, _DELIVERIES)
    ]
    return View(table=Table(columns, rows, _NOTHING_SENT))


def _dead_letters(stores: Stores) -> View:
    found = dead_records(stores.postgres, None)
    rows = [(one.sink, str(one.event_log_id), one.reason, one.recorded_at) for one in found[:_DEAD]]
    columns = (Column("Sink"), Column("Event"), Column("Reason"), Column("When", "moment"))
    note = "All of them: analytics-pipeline export dead-letters" if len(found) > _DEAD else ""
    return View(table=Table(columns, rows, "None."), note=note)
