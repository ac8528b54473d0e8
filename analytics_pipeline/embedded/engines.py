"""Descriptions of engines for the stack, and the two that are servers of our own."""

import os
import shutil
import signal
import socket
import sys
import time
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from analytics_pipeline.embedded.processes import Command, ready_line

PACKAGE_PARENT = Path(__file__).resolve().parents[2]
_PROBE_SECONDS = 2.0
_PORT_SECONDS = 1.0
_PORT_POLL_SECONDS = 0.02


class Engine(Protocol):
    """One server of the stack. `data` is its directory; `signature` begins its command line and no other."""

    @property
    def name(self) -> str: ...

    @property
    def data(self) -> Path: ...

    @property
    def signature(self) -> tuple[str, ...]: ...

    @property
    def polite_signal(self) -> signal.Signals: ...

    def prepare(self) -> None:
        """Make its directories and remove what a killed predecessor left; no process of this engine is alive."""

    def command(self, former_address: str, log: Path) -> Command: ...

    def address(self, log: Path, offset: int) -> str | None:
        """Where it answers, once it does."""

    def answers(self, address: str) -> bool: ...

    def finish(self, address: str) -> None:
        """Creates the objects that must exist before anyone uses the engine."""


@dataclass(frozen=True)
class HttpEngine:
    """A server of our own: `python -m MODULE FLAG DIRECTORY --port N`, which prints `ready URL`."""

    name: str
    module: str
    directory: Path
    arguments: tuple[str, ...]
    secrets: tuple[tuple[str, str], ...] = ()
    probe_path: str = "/ping"

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def _temporary(self) -> Path:
        return self.directory / "tmp"

    @property
    def signature(self) -> tuple[str, ...]:
        return (sys.executable, "-m", self.module, "--path", str(self.data))

    @property
    def polite_signal(self) -> signal.Signals:
        return signal.SIGTERM

    def prepare(self) -> None:
        shutil.rmtree(self._temporary, ignore_errors=True)
        for path in (self.directory, self.data, self._temporary):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def command(self, former_address: str, log: Path) -> Command:
        port = _free_port_of(former_address)
        return Command(
            arguments=(*self.signature, *self.arguments, "--port", str(port)),
            signature=self.signature,
            environment=os.environ | self._environment(),
            directory=self.directory,
            log=log,
        )

    def _environment(self) -> dict[str, str]:
        path = os.pathsep.join(filter(None, (str(PACKAGE_PARENT), os.environ.get("PYTHONPATH"))))
        # Temporary files beside the data: the same disk, and swept at the next start. UTC because a server's clock is.
        return {"PYTHONPATH": path, "TMPDIR": str(self._temporary), "TZ": "UTC", **dict(self.secrets)}

    def address(self, log: Path, offset: int) -> str | None:
        url = ready_line(log, offset)
        return url if url and self.answers(url) else None

    def answers(self, address: str) -> bool:
        return _status(address, self.probe_path) == 200

    def finish(self, address: str) -> None:
        """Nothing: the server made its database before it was ready."""


def _status(address: str, path: str) -> int | None:
    # http.client knows no proxies: a probe of the loopback must not go through one.
    parts = urlsplit(address)
    connection = HTTPConnection(parts.hostname or "", parts.port or 0, timeout=_PROBE_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()


def _free_port_of(former_address: str) -> int:
    """The port it had before, so that saved URLs stay right, unless somebody else took it; 0 lets the system choose."""
    port = urlsplit(former_address).port if former_address else None
    if not port:
        return 0
    # A killed server of many threads keeps its port for a moment after it counts as ended.
    deadline = time.monotonic() + _PORT_SECONDS
    while not is_free(port) and time.monotonic() < deadline:
        time.sleep(_PORT_POLL_SECONDS)
    return port if is_free(port) else 0


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
