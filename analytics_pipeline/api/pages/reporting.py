"""The page of reporting: an account's figures over a range of its days, beside the same time just before."""

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from analytics_pipeline.api.access import CallerOf, of_account, of_instance
from analytics_pipeline.api.pages.frame.charts import Chart, Series
from analytics_pipeline.api.pages.frame.panels import Column, Item, Link, Panel, Table, View
from analytics_pipeline.api.pages.frame.ranges import Ranged, moments
from analytics_pipeline.api.pages.frame.rendering import page
from analytics_pipeline.api.routes.reporting import told_of
from analytics_pipeline.flows.reporting.accounts import account as account_of
from analytics_pipeline.flows.reporting.reads.accounts import accounts
from analytics_pipeline.flows.reporting.reads.metrics import REPORT_METRICS, SUMMARY
from analytics_pipeline.flows.reporting.reads.plan import report_zone
from analytics_pipeline.flows.reporting.reads.query import ReportQuery
from analytics_pipeline.flows.reporting.reads.reading import Answer
from analytics_pipeline.flows.reporting.reads.reports import Comparison, Point, Reports
from analytics_pipeline.flows.reporting.reads.unknown import known_comparison, known_points

ROUTER = APIRouter(include_in_schema=False)

_NAMES = {
    "conversations_count": "Conversations",
    "resolutions_count": "Resolutions",
    "avg_resolution_time": "Time to resolution",
    "avg_first_response_time": "Time to first response",
    "reply_time": "Time to reply",
    "bot_resolutions_count": "Resolved by bots",
    "bot_handoffs_count": "Handed over by bots",
}
_ACCOUNTS = 500


@dataclass(frozen=True)
class _Account:
    """The questions of the panels of an account."""

    reports: Reports
    query: ReportQuery

    def along(self, dimension: str) -> ReportQuery:
        one = self.query
        return ReportQuery(one.account_id, one.since, one.until, dimension, None, one.timezone)

    def figures(self) -> View:
        return self._compared(self.reports.overview(self.query))

    def bots(self) -> View:
        return self._compared(self.reports.bot_summary(self.query))

    def counts(self) -> View:
        return self._series("Conversations and resolutions by day", "", "conversations_count", "resolutions_count")

    def times(self) -> View:
        title = "Time to first response and to resolution by day"
        return self._series(title, "minutes", "avg_first_response_time", "avg_resolution_time")

    def summary(self, dimension: str) -> View:
        found = self.reports.summary(self.along(dimension))
        columns = [Column(dimension.capitalize(), "text")]
        columns += [Column(_NAMES[metric.name], _kind(metric.name)) for metric in SUMMARY.values()]
        rows = [(entity, *(figures[key] for key in SUMMARY)) for entity, figures in found.value.items()]
        return View(table=Table(tuple(columns), rows), told=told_of(found))

    def _compared(self, found: Answer[Comparison]) -> View:
        known = known_comparison(found, self.query)
        now, before = known.current, known.previous
        items = tuple(
            Item(_NAMES[name], now[name], _kind(name), _change(now[name], before[name]))
            for name in REPORT_METRICS
            if name in now
        )
        return View(items=items, told=told_of(found))

    def _series(self, title: str, unit: str, *metrics: str) -> View:
        found = [self.reports.timeseries(self.query, metric) for metric in metrics]
        labels = tuple(self._label(point) for point in found[0].value)
        series = tuple(
            Series(_NAMES[metric], tuple(_drawn(point) for point in known_points(answer, self.query)))
            for metric, answer in zip(metrics, found, strict=True)
        )
        return View(chart=Chart(title, labels, series, unit), told=told_of(found[0]))

    def _label(self, point: Point) -> str:
        return datetime.fromtimestamp(point.timestamp, self.query.since.tzinfo).date().isoformat()


@ROUTER.get("/reporting")
def reporting(
    request: Request,
    who: CallerOf,
    chosen: Ranged,
    account: Annotated[int | None, Query(ge=0, le=2**63 - 1)] = None,
) -> Response:
    subject = account if account is not None else who.scope.account_id
    if subject is None:
        return page(request, "Reporting", [_choice(request, who)], lead="Choose an account.")
    stores = of_account(request, who, subject)
    known = account_of(stores.postgres, subject)
    zone = report_zone(known, None, datetime.now(timezone.utc)).tz
    first, last = chosen.days(datetime.now(zone).date())
    since, until = moments(first, last, zone)
    asked = _Account(Reports(stores.clickhouse, stores.postgres, stores.flags), ReportQuery(subject, since, until))
    panels = [
        Panel("figures", "Figures", asked.figures, wide=True),
        Panel("counts", "Conversations and resolutions", asked.counts),
        Panel("times", "Times", asked.times),
        Panel("agents", "Agents", lambda: asked.summary("agent"), wide=True),
        Panel("inboxes", "Inboxes", lambda: asked.summary("inbox"), wide=True),
        Panel("bots", "Bots", asked.bots),
    ]
    lead = f"Days are those of {zone}."
    values = {"account": subject, "first": first, "last": last}
    return page(request, f"Reporting of {known.name}", panels, lead=lead, filters="account.html", **values)


def _choice(request: Request, who: CallerOf) -> Panel:
    def ask() -> View:
        known = accounts(of_instance(request, who).postgres, None)
        rows = [
            (one.account, Link(one.name, f"/reporting?account={one.account}"), one.timezone)
            for one in known[:_ACCOUNTS]
        ]
        columns = (Column("Account", "text"), Column("Name"), Column("Time zone"))
        note = f"The first {_ACCOUNTS} of {len(known):,}." if len(known) > _ACCOUNTS else ""
        return View(table=Table(columns, rows, "The product has no account yet."), note=note)

    return Panel("accounts", "Accounts", ask, wide=True)


def _change(now: float | None, before: float | None) -> str:
    """How a figure has changed since the time just before."""
    if before is None:
        return "nothing just before"
    if now is None or before == 0:
        return f"{before:,.0f} just before"
    return f"{(now - before) / before:+.0%} on the same time before"


def _kind(metric: str) -> str:
    return "seconds" if REPORT_METRICS[metric].aggregate == "average" else "number"


def _drawn(point: Point) -> float | None:
    """A count as it is, an average in minutes; None: unknown, or nothing to average."""
    return point.value if point.count is None or point.value is None else point.value / 60
