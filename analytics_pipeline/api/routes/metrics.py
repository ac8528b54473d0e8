"""Figures for Prometheus."""

from fastapi import APIRouter, Response
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from analytics_pipeline.api.access import Instance
from analytics_pipeline.api.metrics import exposition
from analytics_pipeline.api.problems import documented

ROUTER = APIRouter(tags=["service"])


@ROUTER.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {CONTENT_TYPE_LATEST: {}}}, **documented(401, 404, 413, 429, 503)},
)
def metrics(stores: Instance) -> Response:
    """Every flow's freshness, backlog, failures and cost, for a token that sees everything (docs/metrics.md)."""
    return Response(exposition(stores, stores.settings.flows), media_type=CONTENT_TYPE_LATEST)
