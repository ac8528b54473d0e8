"""The page of product events: users, tasks, requests, errors and logins of an organisation, and what comes in now."""

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from analytics_pipeline.api.access import InScope
from analytics_pipeline.api.answers import Told
from analytics_pipeline.api.pages.frame.charts import Chart, Series
from analytics_pipeline.api.pages.frame.panels import Column, Item, Panel, Table, View
from analytics_pipeline.api.pages.frame.ranges import Ranged
from analytics_pipeline.api.pages.frame.rendering import page
from analytics_pipeline.api.problems import not_found
from analytics_pipeline.flows.days import next_day
from analytics_pipeline.flows.product_events.reads import auth, counts, events, failures, requests, tasks, users
from analytics_pipeline.flows.product_events.reads.overview import overview
from analytics_pipeline.flows.product_events.reads.query import EventQuery
from analytics_pipeline.flows.product_events.reads.reading import Answer, Reading

ROUTER = APIRouter(include_in_schema=False)

_TAIL, _ENDPOINTS, _ERRORS, _TYPES = 15, 10, 10, 15
_WAITING = "No event has come in: `analytics-pipeline ingest` takes them (docs/product-events.md)."


@dataclass(frozen=True)
class _Asked:
    """The questions of the panels."""

    reading: Reading
    query: EventQuery

    def figures(self) -> View:
        found = overview(self.reading, self.query.organisation_id)
        of = found.value
        items = (
            Item("Users today", of.active_users_today),
            Item("In 7 days", of.active_users_week),
            Item("In 30 days", of.active_users_month),
            Item("Ever", of.total_users),
            Item("Tasks today", of.tasks_today),
            Item("Tasks ever", of.total_tasks),
            Item("Tasks that succeed", of.task_success_rate, "percent"),
            Item("Cocoons in 24 hours", of.active_cocoons, note=f"of {of.total_cocoons:,} ever"),
            Item("Integrations ever", of.total_integrations),
        )
        return View(items, told=_told(found))

    def users(self) -> View:
        found = users.daily(self.reading, self.query)
        days = found.value[::-1]
        chart = Chart(
            "Active users by day",
            tuple(str(one.day) for one in days),
            (Series("Active users", tuple(one.active_users for one in days)),),
        )
        return View(chart=chart, told=_told(found))

    def tasks(self) -> View:
        found = tasks.daily(self.reading, self.query)
        days = found.value[::-1]
        series = tuple(
            Series(name.capitalize(), tuple(None if one.tasks is None else getattr(one.tasks, name) for one in days))
            for name in ("completed", "failed", "cancelled")
        )
        return View(
            chart=Chart("Tasks by day", tuple(str(one.day) for one in days), series, kind="bars"), told=_told(found)
        )

    def endpoints(self) -> View:
        found = requests.by_endpoint(self.reading, self.query, limit=_ENDPOINTS)
        columns = (
            Column("Endpoint"),
            Column("Requests", "number"),
            Column("p50", "milliseconds"),
            Column("p95", "milliseconds"),
            Column("p99", "milliseconds"),
            Column("5xx", "number"),
        )
        rows = [
            (
                f"{one.service} {one.method} {one.endpoint}",
                one.request_count,
                one.p50_duration_ms,
                one.p95_duration_ms,
                one.p99_duration_ms,
                one.error_5xx_count,
            )
            for one in found.value
        ]
        return View(table=Table(columns, rows), told=_told(found))

    def errors(self) -> View:
        found = failures.summary(self.reading, self.query, limit=_ERRORS)
        columns = (
            Column("Service"),
            Column("Error"),
            Column("Times", "number"),
            Column("Users", "number"),
            Column("First"),
        )
        rows = [
            (one.service, one.error_type, one.error_count, one.affected_users, one.sample_error_message)
            for one in found.value
        ]
        return View(table=Table(columns, rows, "No error."), told=_told(found))

    def logins(self) -> View:
        found = auth.summary(self.reading, self.query)
        of = found.value
        items = (
            Item("Attempts", of and of.login_attempts),
            Item("Successful", of and of.login_success_rate, "percent"),
            Item("Users", of and of.unique_users_authenticated),
        )
        return View(items, told=_told(found))

    def types(self) -> View:
        found = counts.by_type(self.reading, self.query, limit=_TYPES)
        columns = (Column("Event"), Column("Service"), Column("Events", "number"), Column("Latest", "moment"))
        rows = [(one.name or one.event_type, one.service, one.events, one.last_at) for one in found.value]
        return View(table=Table(columns, rows, _WAITING), told=_told(found))

    def tail(self) -> View:
        today = self.reading.now.date()
        of = EventQuery(self.query.organisation_id, today - timedelta(days=1), next_day(today))
        columns = (Column("When", "moment"), Column("Event"), Column("Service"), Column("Host"))
        rows = [
            (one.timestamp, one.name or one.event_type, one.service, one.hostname)
            for one in events.events(self.reading, of, limit=_TAIL)
        ]
        return View(table=Table(columns, rows, _WAITING))


@ROUTER.get("/product-events")
def product_events(
    request: Request,
    within: InScope,
    chosen: Ranged,
    organisation: Annotated[int | None, Query(ge=0, le=2**63 - 1)] = None,
) -> Response:
    own = within.scope.organisation_id
    whose = own if organisation is None else organisation
    if within.scope.account_id is not None or own not in (None, whose):
        raise not_found()
    stores, now = within.stores, datetime.now(timezone.utc)
    first, last = chosen.days(now.date())
    reading = Reading(stores.clickhouse, stores.postgres, stores.settings.event_retention_days, now)
    asked = _Asked(reading, EventQuery(whose, first, next_day(last)))
    panels = [
        Panel("figures", "Figures", asked.figures, live_seconds=30, wide=True),
        Panel("users", "Active users", asked.users),
        Panel("tasks", "Tasks", asked.tasks),
        Panel("tail", "Newest events", asked.tail, live_seconds=3),
        Panel("types", "Events by type", asked.types),
        Panel("endpoints", "Slowest endpoints", asked.endpoints, wide=True),
        Panel("errors", "Errors", asked.errors, wide=True),
        Panel("logins", "Logins", asked.logins),
    ]
    values: dict[str, Any] = {"organisation": "" if whose is None else whose, "first": first, "last": last}
    return page(request, "Product events", panels, lead="Days are of UTC.", filters="organisation.html", **values)


def _told(found: Answer[Any]) -> Told:
    of = found.coverage
    return Told(of.source, of.as_of, of.missing, of.reason)
