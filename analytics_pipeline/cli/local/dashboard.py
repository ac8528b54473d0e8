"""The dashboard beside `dev`."""

import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analytics_pipeline.cli.local.beside import new_secret, start
from analytics_pipeline.cli.local.dagster_process import free_port
from analytics_pipeline.cli.serve import PORT
from analytics_pipeline.config import Settings
from analytics_pipeline.resources.postgres import postgres

if TYPE_CHECKING:
    from analytics_pipeline.embedded.dagster_ui import Session
    from analytics_pipeline.embedded.stack import Stack


@dataclass(frozen=True)
class Dashboard:
    """Where it is served, and a token that signs in to it and reads everything."""

    url: str
    token: str


def start_dashboard(
    opened: "Stack", environment: Mapping[str, str], session: "Session", promised: Collection[int]
) -> Dashboard:
    """Start it, on none of the `promised` ports; it ends with the session. Nobody waits: Dagster takes longer."""
    port = free_port(PORT, promised)
    own = {"DAGSTER_UI_URL": session.url, "DASHBOARD_SECRET": secrets.token_hex(16)}
    program, options = ("-m", "analytics_pipeline", "serve"), ("--port", str(port))
    start(program, options, {**environment, **own}, session.token, opened.logs / "serve.log")
    return Dashboard(f"http://127.0.0.1:{port}", new_secret(postgres(Settings.load()), "demo-dashboard", "read"))
