"""The panel of asset checks: those that fail come first, and lead to what they found in Dagster."""

from collections.abc import Sequence
from urllib.parse import urlencode

from analytics_pipeline.api.access import Within
from analytics_pipeline.api.pages.frame.panels import Column, Link, Table, View, asset_page
from analytics_pipeline.config import Settings
from analytics_pipeline.flows.check_outcomes.reads import CheckState, check_states

_COLUMNS = (
    Column("Flow"),
    Column("Check"),
    Column("Table"),
    Column("State", "word"),
    Column("Days", "days"),
    Column("Compared", "number"),
    Column("Found", "number"),
    Column("Looked at", "moment"),
    Column("Unknown because"),
)
_NONE = "No check was executed yet. Those of a table are executed whenever one of its days is materialised."


def shown(within: Within) -> View:
    """Every check that was ever executed: the failing ones, then those of which nothing is known, then the others."""
    settings = within.stores.settings
    found = sorted(check_states(within.stores.postgres, settings.flows), key=_urgency)
    return View(table=Table(_COLUMNS, [_row(settings, one) for one in found], _NONE))


def _urgency(one: CheckState) -> tuple[int, str, str]:
    rank = ("failed", "unknown", "passed").index(one.outcome) * 2 + (one.severity == "warning")
    return rank, one.flow, one.check


def _row(settings: Settings, one: CheckState) -> Sequence[object]:
    asset = asset_page(settings, one.asset)
    name = Link(one.check, f"{asset}?{urlencode({'view': 'checks', 'checkDetail': one.check})}") if asset else one.check
    days = " to ".join(sorted({str(day) for day in (one.first_failing_day, one.last_failing_day) if day}))
    return (one.flow, name, one.asset, _state(one), days, one.compared, one.found, one.checked_at, one.reason or "")


def _state(one: CheckState) -> str:
    if one.outcome == "failed":
        return "warn:warns" if one.severity == "warning" else "bad:fails"
    return "warn:unknown" if one.outcome == "unknown" else "good:passes"
