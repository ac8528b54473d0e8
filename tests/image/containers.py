"""Containers of the image, run as deploy/compose runs them: read-only, without rights, with secrets in files."""

import os
import shlex
import socket
import subprocess
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from shutil import which

from tests.e2e.dagster_server import wait_for

IMAGE = os.environ.get("ANALYTICS_IMAGE", "")
ENGINE = which("podman") or which("docker") or ""
_FLAGS = shlex.split(os.environ.get("CONTAINER_FLAGS", ""))
_LOCKED_DOWN = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]  # noqa: S108


def engine(*arguments: str, seconds: float = 120) -> str:
    """What the container engine prints."""
    done = subprocess.run([ENGINE, *arguments], capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, f"{arguments[0]} … {arguments[-3:]}: {done.stderr or done.stdout}"
    return done.stdout.strip()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - of this machine
            return bool(response.status == 200)
    except OSError:
        return False


@dataclass(frozen=True)
class Surroundings:
    """What all containers of a test have in common: `secrets` are files by variable, `volumes` directories by place."""

    prefix: str
    directory: Path
    environment: Mapping[str, str]
    secrets: Mapping[str, str]
    volumes: Mapping[Path, str]

    def arguments(self) -> list[str]:
        found = ["--network", "host", *_FLAGS, *_LOCKED_DOWN]
        for variable, value in self.environment.items():
            found += ["--env", f"{variable}={value}"]
        for variable, value in self.secrets.items():
            path = self.directory / variable.lower()
            path.write_text(f"{value}\n")
            found += ["--env", f"{variable}_FILE=/run/secrets/{path.name}"]
            found += ["--volume", f"{path}:/run/secrets/{path.name}:ro"]
        for path, place in self.volumes.items():
            found += ["--volume", f"{path}:{place}"]
        return found

    def run(self, *command: str) -> str:
        """What a container prints that ends by itself, and must end well."""
        return engine("run", "--rm", *self.arguments(), IMAGE, *command)


@dataclass
class Container:
    """A container that goes on until it is stopped or killed."""

    name: str
    surroundings: Surroundings
    command: tuple[str, ...]
    health: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def full_name(self) -> str:
        return f"{self.surroundings.prefix}-{self.name}"

    def start(self) -> None:
        own = [word for variable, value in self.environment.items() for word in ("--env", f"{variable}={value}")]
        engine("run", "--detach", "--name", self.full_name, *self.surroundings.arguments(), *own, IMAGE, *self.command)
        self.wait()

    def wait(self) -> None:
        if self.health:
            wait_for(lambda: self.is_running and answers(self.health), bool, 120)

    @property
    def is_running(self) -> bool:
        running = engine("inspect", "--format", "{{.State.Running}}", self.full_name) == "true"
        assert running, self.said()
        return running

    def said(self) -> str:
        """The end of its log."""
        return subprocess.run(
            [ENGINE, "logs", "--tail", "60", self.full_name],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        ).stdout

    def kill(self) -> None:
        """As a machine that loses its power."""
        engine("kill", "--signal", "KILL", self.full_name)

    def restart(self) -> None:
        engine("start", self.full_name)
        self.wait()

    def stop(self, seconds: int = 30) -> int:
        """As a deployment does, with SIGTERM; returns the exit code, 137 when that was not enough."""
        engine("stop", "--time", str(seconds), self.full_name)
        return int(engine("inspect", "--format", "{{.State.ExitCode}}", self.full_name))

    def remove(self) -> None:
        subprocess.run([ENGINE, "rm", "--force", self.full_name], capture_output=True, check=False)
