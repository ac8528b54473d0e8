"""The paths and answers that the product's own dashboards know, with the names that they were served under.

They answer bare JSON without an envelope, so figures that are unknown are null without a word on why: new clients use
`/v1/organisations/…`. The organisation is the token's; a token for everything reads all of them together.
"""

from collections.abc import Callable
from dataclasses import asdict
from datetime import date, datetime, timedelta, timezone
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime

from analytics_pipeline.api.access import OfOrganisations, Within
from analytics_pipeline.api.problems import documented
from analytics_pipeline.api.routes.product_events.asking import reading_of
from analytics_pipeline.flows.product_events.reads import overview, requests, tasks, users
from analytics_pipeline.flows.product_events.reads.query import EventQuery
from analytics_pipeline.flows.product_events.reads.reading import Reading

ROUTER = APIRouter(tags=["product events, names as served"], prefix="/api/analytics")
_RESPONSES = documented(400, 401, 404, 413, 422, 429, 503)
_DAY = "Its whole UTC day is in the range, which begins 30 days before its end and ends now without it."
Moment = Annotated[AwareDatetime | None, Query(description=_DAY, examples=["2026-11-01T00:00:00Z"])]


class Served:
    """A question in the names of the product: its reading, and the UTC days that the range touches."""

    def __init__(
        self,
        within: OfOrganisations,
        start_date: Moment = None,
        end_date: Moment = None,
        start: Annotated[
            AwareDatetime | None, Query(alias="startDate", description="The same as `start_date`.")
        ] = None,
        end: Annotated[AwareDatetime | None, Query(alias="endDate", description="The same as `end_date`.")] = None,
    ) -> None:
        self.reading, self.organisation = _reading(within)
        until = (end_date or end or datetime.now(timezone.utc)).astimezone(timezone.utc)
        since = (start_date or start or until - timedelta(days=30)).astimezone(timezone.utc)
        self.query = EventQuery(self.organisation, since.date(), until.date() + timedelta(days=1))


def _reading(within: Within) -> tuple[Reading, int | None]:
    return reading_of(within.stores), within.scope.organisation_id


Asked = Annotated[Served, Depends()]


def _served(path: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return ROUTER.get(path, responses=_RESPONSES)


@_served("/overview")
def served_overview(within: OfOrganisations) -> overview.Overview:
    """The figures that say at a glance how the product is doing."""
    reading, organisation = _reading(within)
    return overview.overview(reading, organisation).value


@_served("/users/daily")
def served_users_daily(asked: Asked) -> list[users.ActiveUsers]:
    """Distinct users and events of each day, the newest first."""
    return list(users.daily(asked.reading, asked.query).value)


@_served("/users/weekly")
def served_users_weekly(asked: Asked) -> list[users.ActiveUsers]:
    """Distinct users and events of each week, the newest first."""
    return list(users.weekly(asked.reading, asked.query).value)


@_served("/tasks/daily")
def served_tasks_daily(asked: Asked) -> list[dict[str, date | int | float | None]]:
    """Tasks of each day that is known, the newest first."""
    found = tasks.daily(asked.reading, asked.query).value
    return [{"day": one.day, **asdict(one.tasks)} for one in found if one.tasks]


@_served("/tasks/overview")
def served_tasks_overview(asked: Asked) -> dict[str, int | float | None] | None:
    """Tasks of the whole range; null: no day of it is known."""
    found = tasks.overview(asked.reading, asked.query).value
    if found is None:
        return None
    names = ("created", "completed", "failed", "cancelled")
    totals: dict[str, int | float | None] = {f"total_{name}": getattr(found, name) for name in names}
    return totals | {"success_rate": found.success_rate, "avg_duration_ms": found.avg_duration_ms}


@_served("/api/latency")
def served_latency(asked: Asked) -> list[dict[str, datetime | str | int | float | None]]:
    """Each endpoint's hours, at most 1,000, the newest first."""
    found = requests.hourly(asked.reading, asked.query).value
    return [{"hour": one.hour, **asdict(one.latency)} for one in found]


@_served("/api/slowest")
def served_slowest(within: OfOrganisations) -> list[requests.Latency]:
    """The ten slowest endpoints of the last 24 hours."""
    return list(requests.slowest(*_reading(within)).value)
