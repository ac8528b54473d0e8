"""Routes about what an organisation's users and tasks do, and the events themselves."""

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query

from analytics_pipeline.api.access import Id, Organisation
from analytics_pipeline.api.answers import Figure, Listing, Told, figure, listing
from analytics_pipeline.api.paging import Paged, taken
from analytics_pipeline.api.routes.product_events.asking import (
    Asked,
    figure_of,
    list_of,
    new_router,
    reading_of,
    told_of,
    version_of,
)
from analytics_pipeline.api.rows import flat, flattened
from analytics_pipeline.flows.product_events.reads import counts, events, overview, tasks, users

ROUTER = new_router()
TasksRow = flattened("TasksRow", tasks.Tasks, day=date)


_OVERVIEW = {
    "total_users": 120,
    "active_users_today": 20,
    "active_users_week": 60,
    "active_users_month": 90,
    "total_tasks": 4000,
    "tasks_today": 30,
    "task_success_rate": 0.93,
    "total_cocoons": 15,
    "active_cocoons": 4,
    "total_integrations": 8,
}


@figure(ROUTER, "/overview", overview.Overview, _OVERVIEW)
def events_overview(stores: Organisation, organisation: Id) -> Figure[overview.Overview]:
    """The figures that say at a glance how the product is doing."""
    return figure_of(overview.overview(reading_of(stores), organisation))


_USERS = {"day": "2026-11-27", "active_users": 20, "total_events": 900}


@listing(ROUTER, "/users/daily", users.ActiveUsers, _USERS, version=version_of("analytics_daily_active_users"))
def users_daily(asked: Asked, page: Paged) -> Listing[users.ActiveUsers]:
    """Distinct users and events of each day, the newest first."""
    found = users.daily(asked.reading, asked.query)
    return list_of(found, found.value, page, lambda row: (row.day,), tuple[date])


@listing(ROUTER, "/users/weekly", users.ActiveUsers, _USERS, version=version_of("analytics_daily_active_users"))
def users_weekly(asked: Asked, page: Paged) -> Listing[users.ActiveUsers]:
    """Distinct users and events of each week from Monday on, the newest first."""
    found = users.weekly(asked.reading, asked.query)
    return list_of(found, found.value, page, lambda row: (row.day,), tuple[date])


_TASKS = {
    "created": 30,
    "started": 29,
    "completed": 25,
    "failed": 2,
    "cancelled": 1,
    "success_rate": 0.925,
    "avg_duration_ms": 5200.0,
    "p95_duration_ms": 20000.0,
}


@listing(
    ROUTER, "/tasks/daily", TasksRow, {"day": "2026-11-27", **_TASKS}, version=version_of("analytics_task_stats_daily")
)
def tasks_daily(asked: Asked, page: Paged) -> Listing[Any]:
    """Tasks of each day, the newest first."""
    found = tasks.daily(asked.reading, asked.query)
    rows = [flat(TasksRow, one.day, figure=one.tasks) for one in found.value]
    return list_of(found, rows, page, lambda row: (row.day,), tuple[date])


@figure(ROUTER, "/tasks/overview", tasks.Tasks, _TASKS, version=version_of("analytics_task_stats_daily"))
def tasks_overview(asked: Asked) -> Figure[tasks.Tasks]:
    """Tasks of the whole range; means are weighted by task."""
    return figure_of(tasks.overview(asked.reading, asked.query))


_COUNT = {"event_type": "task_created", "name": "", "service": "web", "events": 30, "last_at": "2026-11-27T09:00:00Z"}


@listing(ROUTER, "/counts", counts.EventCount, _COUNT, version=version_of("daily_event_counts"))
def event_counts(asked: Asked, page: Paged) -> Listing[counts.EventCount]:
    """Events by type, name and service, the most frequent first."""
    found = counts.by_type(asked.reading, asked.query, limit=page.limit + 1, after=page.after(counts.Place))
    shown = taken(found.value, page, lambda row: (row.events, row.event_type, row.name, row.service))
    return Listing(shown, told_of(found.coverage))


async def _filter(
    event_type: Annotated[
        str | None, Query(max_length=200, description="Of one type.", examples=["task_created"])
    ] = None,
    name: Annotated[str | None, Query(max_length=200, description="Of custom events.", examples=["export"])] = None,
    service: Annotated[str | None, Query(max_length=200, description="Of one service.", examples=["web"])] = None,
    user: Annotated[
        UUID | None, Query(description="Of one user.", examples=["00000000-0000-0000-0000-000000000007"])
    ] = None,
    environment: Annotated[
        str | None, Query(max_length=200, description="Of one environment of the services.", examples=["production"])
    ] = None,
) -> events.EventFilter:
    return events.EventFilter(event_type, name, service, user, environment)


_EVENT = {
    "organisation_id": 1,
    "event_id": "00000000-0000-0000-0000-000000000001",
    "timestamp": "2026-11-27T09:00:00Z",
    "received_at": "2026-11-27T09:00:01Z",
    "event_type": "task_created",
    "name": "",
    "service": "web",
    "user_id": "00000000-0000-0000-0000-000000000007",
    "hostname": "web-1",
    "environment": "production",
    "fields": {"task_id": "00000000-0000-0000-0000-000000000002"},
    "data": "{}",
}


@listing(ROUTER, "", events.StoredEvent, _EVENT)
def stored_events(
    asked: Asked, of: Annotated[events.EventFilter, Depends(_filter)], page: Paged
) -> Listing[events.StoredEvent]:
    """The events themselves, the newest first, for as long as they are kept."""
    after = page.after(tuple[datetime, int, UUID])
    place = events.Place(*after) if after else None
    rows = events.events(asked.reading, asked.query, of, limit=page.limit + 1, after=place)
    shown = taken(rows, page, lambda row: (row.timestamp, row.organisation_id, row.event_id))
    return Listing(shown, Told("events", asked.reading.now))
