"""`analytics-pipeline ingest`: takes the events of product services."""

import os
import tempfile

import click

from analytics_pipeline.config import NotConfigured, Settings

PORT = 8094
_KEEP_ALIVE_SECONDS = 75
# A request that is under way at the end is answered: a commit takes no longer.
_DRAIN_SECONDS = 30


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", default=PORT, show_default=True, help="Port to listen at.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes that take events.")
def ingest(host: str, port: int, workers: int) -> None:
    """Take the events that services send with the SDK, and store each once.

    A service sends with a token: analytics-pipeline token create NAME --scope ingest --organisation ID. SIGTERM answers
    what is under way and ends. Listening beyond this machine belongs behind a proxy that speaks TLS
    (docs/product-events.md).
    """
    settings = Settings.load()
    for store, variable in (("postgres", "DATABASE_URL"), ("clickhouse", "CLICKHOUSE_URL")):
        if getattr(settings, variable.lower()) is None:
            raise NotConfigured(store, variable)
    with tempfile.TemporaryDirectory(prefix="analytics-ingest-") as directory:
        if workers > 1:
            # Has to be set before the library is imported, in each worker.
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory
        _serve(host, port, workers)


def _serve(host: str, port: int, workers: int) -> None:
    import uvicorn

    uvicorn.run(
        "analytics_pipeline.api.ingestion.app:create_app",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        lifespan="on",
        http="analytics_pipeline.api.punctual:PunctualProtocol",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )
