"""All pages of the dashboard, and how one that cannot be shown says so."""

from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from analytics_pipeline.api.pages import (
    ai_usage,
    enablement,
    overview,
    product_events,
    reporting,
    segments,
    session,
    sharing,
    tokens,
    usage_export,
)
from analytics_pipeline.api.pages.frame.rendering import asset, notice
from analytics_pipeline.api.problems import UNAUTHENTICATED, response_of, told

ROUTER = APIRouter(include_in_schema=False)
_PARTS = (
    session,
    sharing,
    overview,
    segments,
    reporting,
    ai_usage,
    product_events,
    usage_export,
    enablement,
    tokens,
)
for part in _PARTS:
    ROUTER.include_router(part.ROUTER)


@ROUTER.get("/static/style.css")
def style() -> Response:
    return asset("style.css")


@ROUTER.get("/static/live.js")
def live() -> Response:
    return asset("live.js")


@ROUTER.get("/static/icon.svg")
def icon() -> Response:
    return asset("icon.svg")


def problem_of(request: Request, error: Exception) -> Response:
    """The answer to a request that ended with the exception: a page where pages are, else as the API has it.

    Who looks at a page without a token is led to where they can sign in.
    """
    if request.url.path.startswith("/v") or "text/html" not in request.headers.get("accept", ""):
        return response_of(error)
    found = told(error)
    if found.kind is UNAUTHENTICATED:
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/sign-in?next={quote(asked)}", 303, {"Cache-Control": "no-store"})
    return notice(request, found)
