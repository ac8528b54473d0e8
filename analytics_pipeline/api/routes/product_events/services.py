"""Routes about an organisation's services: requests, errors, integrations, logins and cocoons."""

from datetime import date, datetime
from typing import Annotated, Any

from fastapi import Depends, Query

from analytics_pipeline.api.access import Id, Organisation
from analytics_pipeline.api.answers import Listing, listing
from analytics_pipeline.api.paging import Paged, taken
from analytics_pipeline.api.routes.product_events.asking import (
    Asked,
    list_of,
    new_router,
    reading_of,
    told_of,
    version_of,
)
from analytics_pipeline.api.rows import flat, flattened
from analytics_pipeline.flows.product_events.reads import auth, cocoons, failures, integrations, requests

ROUTER = new_router()
LatencyRow = flattened("LatencyRow", requests.Latency, hour=datetime)
IntegrationsRow = flattened("IntegrationsRow", integrations.IntegrationHealth, day=date)
AuthRow = flattened("AuthRow", auth.AuthStats, day=date)
CocoonsRow = flattened("CocoonsRow", cocoons.CocoonActivity, day=date)
ErrorsRow = flattened("ErrorsRow", failures.ErrorSummary, hour=datetime)


async def _endpoints(
    service: Annotated[str | None, Query(max_length=200, description="Of one service.", examples=["web"])] = None,
    endpoint: Annotated[
        str | None,
        Query(max_length=2_000, description="Of one endpoint, as the service names it.", examples=["/v1/things/{id}"]),
    ] = None,
    method: Annotated[str | None, Query(max_length=20, description="Of one method of HTTP.", examples=["GET"])] = None,
) -> requests.Endpoints:
    return requests.Endpoints(service, endpoint, method)


Endpoints = Annotated[requests.Endpoints, Depends(_endpoints)]
_LATENCY = {
    "service": "web",
    "endpoint": "/v1/things/{id}",
    "method": "GET",
    "request_count": 500,
    "avg_duration_ms": 12.5,
    "p50_duration_ms": 9.0,
    "p95_duration_ms": 40.0,
    "p99_duration_ms": 90.0,
    "error_4xx_count": 3,
    "error_5xx_count": 0,
}


_LATENCY_OF_HOUR = {"hour": "2026-11-27T09:00:00Z", **_LATENCY}


@listing(ROUTER, "/api/latency", LatencyRow, _LATENCY_OF_HOUR, version=version_of("analytics_api_latency_hourly"))
def api_latency(asked: Asked, of: Endpoints, page: Paged) -> Listing[Any]:
    """Each endpoint's hours, the newest first, in an hour the slowest by p99 first."""
    found = requests.hourly(asked.reading, asked.query, of, limit=page.limit + 1, after=page.after(requests.Place))
    shown = taken([flat(LatencyRow, one.hour, figure=one.latency) for one in found.value], page, _place)
    return Listing(shown, told_of(found.coverage))


def _place(row: Any) -> requests.Place:
    slowest = row.p99_duration_ms
    return row.hour, slowest is None, slowest or 0.0, row.service, row.endpoint, row.method


@listing(ROUTER, "/api/slowest", requests.Latency, _LATENCY)
def api_slowest(stores: Organisation, organisation: Id, page: Paged) -> Listing[requests.Latency]:
    """The endpoints with the highest p99 in the last 24 hours."""
    found = requests.slowest(reading_of(stores), organisation)
    return list_of(found, found.value, page, lambda row: (row.service, row.endpoint, row.method), tuple[str, str, str])


_INTEGRATIONS = {
    "day": "2026-11-27",
    "provider": "github",
    "connections": 3,
    "disconnections": 1,
    "uses": 200,
    "errors": 2,
    "unique_users": 12,
    "error_rate": 0.01,
}


@listing(
    ROUTER,
    "/integrations/daily",
    IntegrationsRow,
    _INTEGRATIONS,
    version=version_of("analytics_integration_health_daily"),
)
def integrations_daily(asked: Asked, page: Paged) -> Listing[Any]:
    """Each day's providers that had events, the newest day first."""
    found = integrations.daily(asked.reading, asked.query)
    rows = [flat(IntegrationsRow, one.day, figure=one.health) for one in found.value]
    return list_of(found, rows, page, lambda row: (row.day, row.provider), tuple[date, str])


_AUTH = {
    "day": "2026-11-27",
    "login_attempts": 40,
    "successful_logins": 36,
    "failed_logins": 4,
    "code_verifications": 12,
    "token_refreshes": 300,
    "unique_users_authenticated": 30,
    "login_success_rate": 0.9,
}


@listing(ROUTER, "/auth/daily", AuthRow, _AUTH, version=version_of("analytics_auth_events_daily"))
def auth_daily(asked: Asked, page: Paged) -> Listing[Any]:
    """Logins of each day, the newest first."""
    found = auth.daily(asked.reading, asked.query)
    rows = [flat(AuthRow, one.day, figure=one.stats) for one in found.value]
    return list_of(found, rows, page, lambda row: (row.day,), tuple[date])


_COCOONS = {
    "day": "2026-11-27",
    "registrations": 1,
    "connections": 9,
    "disconnections": 8,
    "claims": 1,
    "avg_session_duration_seconds": 3600.0,
    "unique_cocoons": 5,
}


@listing(ROUTER, "/cocoons/daily", CocoonsRow, _COCOONS, version=version_of("analytics_cocoon_activity_daily"))
def cocoons_daily(asked: Asked, page: Paged) -> Listing[Any]:
    """Cocoons of each day, the newest first."""
    found = cocoons.daily(asked.reading, asked.query)
    rows = [flat(CocoonsRow, one.day, figure=one.activity) for one in found.value]
    return list_of(found, rows, page, lambda row: (row.day,), tuple[date])


_ERRORS = {
    "hour": "2026-11-27T09:00:00Z",
    "service": "worker",
    "error_type": "Timeout",
    "error_count": 4,
    "affected_users": 2,
    "sample_error_message": "gave up after 30 s",
    "first_at": "2026-11-27T09:04:00Z",
}


@listing(ROUTER, "/errors/hourly", ErrorsRow, _ERRORS, version=version_of("analytics_errors_hourly"))
def errors_hourly(asked: Asked, page: Paged) -> Listing[Any]:
    """Each hour's errors by service and type, the newest hour first, in an hour the most frequent first."""
    found = failures.hourly(asked.reading, asked.query, limit=page.limit + 1, after=page.after(failures.Place))
    rows = [flat(ErrorsRow, one.hour, figure=one.errors) for one in found.value]
    shown = taken(rows, page, lambda row: (row.hour, row.error_count, row.service, row.error_type))
    return Listing(shown, told_of(found.coverage))
