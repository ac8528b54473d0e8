"""The page of AI usage: of a namespace and everything below it, over a range of UTC days."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from analytics_pipeline.api.access import Instance
from analytics_pipeline.api.answers import Told
from analytics_pipeline.api.pages.frame.charts import Chart, Series
from analytics_pipeline.api.pages.frame.panels import Column, Item, Panel, Table, View, once
from analytics_pipeline.api.pages.frame.ranges import Ranged
from analytics_pipeline.api.pages.frame.rendering import page
from analytics_pipeline.api.stores import Stores
from analytics_pipeline.flows.ai_usage.errors import NotAvailable
from analytics_pipeline.flows.ai_usage.reads import AiUsageReads, Scope, check_available

ROUTER = APIRouter(include_in_schema=False)

_USERS = 50


@dataclass(frozen=True)
class _Usage:
    """The questions of the panels."""

    reads: AiUsageReads
    scope: Scope
    told: Callable[[], Told]

    def figures(self) -> View:
        code, chat = self.reads.code_suggestions(self.scope), self.reads.chat(self.scope)
        items = (
            Item("Users of any AI feature", self.reads.contributors(self.scope)),
            Item("Suggestions shown", code.shown),
            Item("Accepted", code.accepted),
            Item("Acceptance", code.acceptance_rate, "percent", "" if code.shown else "nothing was shown"),
            Item("Lines accepted", code.accepted_lines, note=f"of {code.shown_lines:,} shown"),
            Item("Users of the chat", chat.users),
            Item("Questions to the chat", chat.questions),
            Item("Languages", ", ".join(code.languages) or "none", "text"),
        )
        return View(items, told=self.told())

    def events(self) -> View:
        found = self.reads.events(self.scope)
        chart = Chart("Events by name", tuple(found), (Series("events", tuple(found.values())),), kind="across")
        return View(chart=chart if found else None, note="" if found else "Nothing in this range.", told=self.told())

    def users(self) -> View:
        found = self.reads.users(self.scope, limit=_USERS)
        columns = (Column("User"), Column("Events", "number"), Column("Last activity", "moment"))
        rows = [(str(one.user_id), one.total, one.last_activity_at) for one in found]
        return View(table=Table(columns, rows), note=f"The busiest {_USERS}.", told=self.told())


@ROUTER.get("/ai-usage")
def ai_usage(
    request: Request,
    stores: Instance,
    chosen: Ranged,
    namespace: Annotated[str, Query(max_length=255)] = "",
) -> Response:
    first, last = chosen.days(datetime.now(timezone.utc).date())
    lead = (
        f"{first} to {last}, days of UTC. A namespace is a path of ids from the top, such as 1/2; empty is everything."
    )
    panels = _panels(stores, Scope(namespace, first, last))
    return page(request, "AI usage", panels, lead=lead, filters="namespace.html", first=first, last=last)


def _panels(stores: Stores, scope: Scope) -> Sequence[Panel]:
    """Figures, or the one reason why there are none yet."""
    try:
        check_available(stores.postgres)
    except NotAvailable as error:
        reason = error
        return [Panel("figures", "Figures", lambda: _refused(reason), wide=True)]
    reads = AiUsageReads(stores.clickhouse, stores.postgres)
    usage = _Usage(reads, scope, once(lambda: Told("ai_usage_daily", None, tuple(reads.missing(scope)))))
    return [
        Panel("figures", "Figures", usage.figures, wide=True),
        Panel("events", "Events", usage.events),
        Panel("users", "Users", usage.users),
    ]


def _refused(reason: NotAvailable) -> View:
    raise reason
