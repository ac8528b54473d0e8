"""The read API as an ASGI application: read-only, with one pooled client of each store per process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from analytics_pipeline.api.access import Recall, Service, Verifier, reader, still_reader
from analytics_pipeline.api.headers import Guard
from analytics_pipeline.api.limits import Limits, new_limits
from analytics_pipeline.api.pages import pages
from analytics_pipeline.api.pages.sharing import Shared
from analytics_pipeline.api.problems import add_handlers
from analytics_pipeline.api.routes import (
    ai_usage,
    metrics,
    pipeline,
    reporting,
    segments,
    service,
    tenants,
    usage_export,
)
from analytics_pipeline.api.routes.product_events import activity, served_names, services
from analytics_pipeline.api.stores import Connections
from analytics_pipeline.config import Settings

VERSION = "1"
_ROUTERS = (
    tenants.ROUTER,
    segments.ROUTER,
    reporting.ROUTER,
    ai_usage.ROUTER,
    usage_export.ROUTER,
    pipeline.ROUTER,
    activity.ROUTER,
    services.ROUTER,
)
_DESCRIPTION = """
Everything that analytics_pipeline computes, to be read. Every list has pages, and comes as JSON, CSV, lines of JSON or
Parquet (`Accept`). Every answer says where it was read, as of when, and which days it lacks. What is unknown is null
with a reason, never 0.
"""


def create_app(
    settings: Settings, verify: Verifier = reader, recall: Recall = still_reader, *, anonymous: bool = False
) -> FastAPI:
    """The application. `anonymous`: whoever asks from this machine without a token may read everything."""
    connections = Connections(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        connections.close()

    app = FastAPI(
        title="analytics_pipeline",
        version=VERSION,
        description=_DESCRIPTION,
        lifespan=lifespan,
        # Their pages come from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = Service(connections, verify, _limits(settings), anonymous, recall)
    add_handlers(app, pages.problem_of)
    for router in _ROUTERS:
        app.include_router(router, prefix=f"/v{VERSION}")
    app.include_router(served_names.ROUTER)
    app.include_router(service.ROUTER)
    app.include_router(metrics.ROUTER)
    app.include_router(pages.ROUTER)
    app.add_middleware(Shared, settings=settings)
    app.add_middleware(Guard, answer=pages.problem_of)
    return app


def _limits(settings: Settings) -> Limits:
    return new_limits(settings.api_requests_per_minute, settings.api_requests_per_day)
