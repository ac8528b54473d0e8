"""The demo's services that send product events, and the ingestion that takes them, beside `demo` and `dev`."""

import signal
import subprocess
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING

import click

from analytics_pipeline import demo
from analytics_pipeline.cli.local.beside import new_secret, start
from analytics_pipeline.cli.local.dagster_process import free_port
from analytics_pipeline.config import Settings
from analytics_pipeline.resources.postgres import Postgres, postgres

if TYPE_CHECKING:
    from analytics_pipeline.embedded.stack import Stack

INGESTION_PORT = 8094
# The demo's services and the organisation that each is of.
ORGANISATION_OF: Mapping[str, int] = {"shop": 1, "tasks": 1, "hub": 2}
_READY_SECONDS = 60.0
_STOP_SECONDS = 8.0


@dataclass(frozen=True)
class Sending:
    """Processes that send and take events; `url` is where ingestion listens, `log` is its log."""

    url: str
    log: Path
    ingestion: "subprocess.Popen[bytes]"
    services: "tuple[subprocess.Popen[bytes], ...]"

    @property
    def port(self) -> int:
        """Where ingestion listens, or will once it has started."""
        return int(self.url.rpartition(":")[2])

    def stop(self) -> None:
        """Let the services send what they have, then end ingestion."""
        _stop(self.services)
        _stop((self.ingestion,))

    def require(self) -> None:
        """Make sure that events are taken.

        Raises:
            click.ClickException: ingestion does not answer within a minute, or has ended.
        """
        from analytics_pipeline.embedded import processes

        if processes.wait_until(lambda: _ready(self.url), self.ingestion, _READY_SECONDS) is None:
            raise click.ClickException(f"Ingestion does not work. The end of {self.log}:\n{processes.tail(self.log)}")


@contextmanager
def events_beside(opened: "Stack", environment: Mapping[str, str], token: str) -> Iterator[Sending]:
    """Ingestion and three services while the caller works; their processes are marked with `token`.

    Nobody waits for ingestion: the services keep what they track until it is there.
    """
    sending = start_sending(opened, environment, token)
    try:
        yield sending
    finally:
        sending.stop()


def start_sending(
    opened: "Stack", environment: Mapping[str, str], token: str, promised: Collection[int] = ()
) -> Sending:
    """Start them, ingestion on none of the `promised` ports; to be stopped by the caller."""
    port = free_port(INGESTION_PORT, promised)
    url, log = f"http://127.0.0.1:{port}", opened.logs / "ingestion.log"
    ingest = ("-m", "analytics_pipeline", "ingest")
    ingestion = start(ingest, ("--port", str(port)), environment, token, log)
    services = [
        start(
            # By its file: a service has the SDK and nothing else of ours.
            (str(Path(demo.__file__).with_name("services.py")),),
            (name,),
            {**environment, **_settings(opened, url, name, secret)},
            token,
            opened.logs / f"service-{name}.log",
        )
        for name, secret in _new_secrets(postgres(Settings.load())).items()
    ]
    return Sending(url, log, ingestion, tuple(services))


def _settings(opened: "Stack", url: str, name: str, secret: str) -> dict[str, str]:
    return {
        "ANALYTICS_URL": url,
        "ANALYTICS_TOKEN": secret,
        "ANALYTICS_SERVICE": name,
        "ANALYTICS_FLUSH_INTERVAL": "1",
        "ANALYTICS_SPOOL": str(opened.home / "spool" / name),
    }


def _new_secrets(store: Postgres) -> dict[str, str]:
    """A token for each service."""
    return {
        name: new_secret(store, f"demo-{name}", "ingest", organisation)
        for name, organisation in ORGANISATION_OF.items()
    }


def _ready(url: str) -> str | None:
    connection = HTTPConnection(url.removeprefix("http://"), timeout=5)
    try:
        connection.request("GET", "/readyz")
        return "ready" if connection.getresponse().status == 200 else None
    except OSError:
        return None
    finally:
        connection.close()


def _stop(children: "tuple[subprocess.Popen[bytes], ...]") -> None:
    for child in children:
        with suppress(ProcessLookupError):
            child.send_signal(signal.SIGTERM)
    for child in children:
        try:
            child.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
