"""The Dagster webserver, daemon and code servers as one thing: started, watched, and stopped to the last process.

Dagster's own shutdown leaves code servers to end by themselves up to a minute later, and a killed launcher leaves
everything. Each start therefore marks its processes with a random token in their environment, which their descendants
inherit: whoever carries the token belongs to that start, and nobody else does.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import psutil

from analytics_pipeline.embedded import processes
from analytics_pipeline.embedded.dagster_home import WORKSPACE
from analytics_pipeline.embedded.engines import PACKAGE_PARENT
from analytics_pipeline.embedded.state import write_private

_MARK = "ANALYTICS_DEV_TOKEN"
_QUERY = """{ workspaceOrError { ... on Workspace { locationEntries {
    name loadStatus locationOrLoadError { __typename ... on PythonError { message } } } } } }"""


@dataclass(frozen=True)
class Session:
    """One start of `dev`, as noted for the next one: its token, its URL and the engines that it brought up."""

    token: str
    url: str
    engines: tuple[str, ...]


def note(path: Path, session: Session) -> None:
    write_private(path, json.dumps(asdict(session)))


def noted(path: Path) -> Session | None:
    try:
        fields = json.loads(path.read_text())
        return Session(fields["token"], fields["url"], tuple(fields["engines"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def start(session: Session, environment: Mapping[str, str], port: int, log: Path) -> "subprocess.Popen[bytes]":
    """Start `dg dev` in a session of its own: Ctrl-C in the terminal reaches us, and we stop it in order."""
    address = ("--host", "127.0.0.1", "--port", str(port))
    return _started(("dagster_dg_cli.cli", "dev"), address, session, environment, log)


def start_daemon(session: Session, environment: Mapping[str, str], log: Path) -> "subprocess.Popen[bytes]":
    """Start Dagster's daemon and its code server, in a session of their own: all that runs need."""
    return _started(("dagster._daemon", "run"), (), session, environment, log)


def _started(
    module: tuple[str, str], options: tuple[str, ...], session: Session, environment: Mapping[str, str], log: Path
) -> "subprocess.Popen[bytes]":
    # The workspace file names the code location; without it dg would want to run inside a checkout.
    processes.rotate(log)
    workspace = str(Path(environment["DAGSTER_HOME"]) / WORKSPACE)
    program = (sys.executable, "-m", *module, "--workspace", workspace)
    return processes.start(
        processes.Command(
            arguments=(*program, *options),
            signature=program,
            environment={**os.environ, **environment, **marked(session.token)},
            directory=Path(environment["DAGSTER_HOME"]),
            log=log,
        )
    )


def marked(token: str) -> dict[str, str]:
    """Variables that make a process, with all that it starts, one of the start with this token."""
    return {_MARK: token, "PYTHONPATH": _python_path()}


def _python_path() -> str:
    return os.pathsep.join(filter(None, (str(PACKAGE_PARENT), os.environ.get("PYTHONPATH"))))


def stop(session: Session, child: "subprocess.Popen[bytes] | None", seconds: float = 8.0) -> int:
    """End every process of this start and return how many there were; Dagster gets `seconds` to do it itself."""
    family = members(session)
    if child is not None and child.poll() is None:
        child.send_signal(signal.SIGINT)
        psutil.wait_procs([process for process in family if process.pid == child.pid], timeout=seconds)
    # Asked again: a run or a code server may have started meanwhile. A run reports its own end when it is asked to.
    processes.stop_all(members(session), seconds=4.0)
    return len(family)


def stop_at_once(token: str, seconds: float) -> None:
    """End what this start has started, in twice these seconds at most."""
    processes.stop_all(_marked(token), seconds)


def members(session: Session) -> list[psutil.Process]:
    return _marked(session.token)


def _marked(token: str) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if _carries(process, token)]


def _carries(process: psutil.Process, token: str) -> bool:
    try:
        return process.environ().get(_MARK) == token and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, OSError):
        return False


@dataclass(frozen=True)
class Location:
    """`error` is why its definitions do not load, or empty."""

    name: str
    error: str = ""


def loaded_locations(port: int) -> list[Location] | None:
    """The code locations once all of them were tried; None while the webserver or a location is still starting."""
    answer = _post(port, "/graphql", {"query": _QUERY}) or {}
    entries = ((answer.get("data") or {}).get("workspaceOrError") or {}).get("locationEntries")
    if not entries or any(entry["loadStatus"] != "LOADED" for entry in entries):
        return None
    return [Location(entry["name"], (entry["locationOrLoadError"] or {}).get("message", "")) for entry in entries]


def _post(port: int, path: str, body: object) -> Any:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        return json.loads(connection.getresponse().read())
    except (OSError, HTTPException, ValueError):
        return None
    finally:
        connection.close()
