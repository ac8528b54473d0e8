"""`analytics-pipeline serve`: the read API over your stores."""

import click

from analytics_pipeline.addresses import is_loopback
from analytics_pipeline.config import Settings

PORT = 8093
_KEEP_ALIVE_SECONDS = 30


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", default=PORT, show_default=True, help="Port to listen at.")
@click.option("--anonymous", is_flag=True, help="Let whoever asks from this machine read everything without a token.")
def serve(host: str, port: int, *, anonymous: bool) -> None:
    """Serve what the pipeline computes, to be read: http://127.0.0.1:8093/openapi.json tells what there is.

    Whoever asks sends a token: analytics-pipeline token. Listening beyond this machine belongs behind a proxy that
    speaks TLS (docs/api.md).
    """
    if anonymous and not is_loopback(host):
        raise click.UsageError("--anonymous is for this machine alone: leave --host at 127.0.0.1")
    import uvicorn

    from analytics_pipeline.api.app import create_app

    app = create_app(Settings.load(), anonymous=anonymous)
    uvicorn.run(
        app,
        host=host,
        port=port,
        http="analytics_pipeline.api.punctual:PunctualProtocol",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
    )
