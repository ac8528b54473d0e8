"""Figures for Prometheus."""

from fastapi import APIRouter, Response
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from analytics_pipeline.api.access import Instance
from analytics_pipeline.api.metrics import exposition

ROUTER = APIRouter(tags=["service"])


@ROUTER.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(stores: Instance) -> Response:
    """Every flow's freshness, backlog, failures and cost, for a token that sees everything (docs/metrics.md)."""
    return Response(exposition(stores, stores.settings.flows), media_type=CONTENT_TYPE_LATEST)
