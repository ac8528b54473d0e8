"""The first page: how each flow is, and what there is to do first."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from analytics_pipeline.api.access import CallerOf
from analytics_pipeline.api.pages.panels import Panel
from analytics_pipeline.api.pages.rendering import page

ROUTER = APIRouter(include_in_schema=False)


@ROUTER.get("/")
def overview(request: Request, who: CallerOf) -> Response:
    panels: list[Panel] = []
    return page(request, "Overview", panels)
