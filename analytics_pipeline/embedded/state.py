"""State that the stack keeps between commands, and the lock that lets one command at a time change it."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from analytics_pipeline.embedded.processes import Recorded, StackError

_LOCK_POLL_SECONDS = 0.1


def write_private(path: Path, text: str) -> None:
    """Replace a file as a whole, readable by its owner alone: a reader never sees half of it."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    partial.replace(path)


class StateFile:
    """The processes of the stack by engine name; an engine that is down keeps its address, to be reused."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, Recorded]:
        try:
            content = json.loads(self._path.read_text())
            return {
                name: Recorded(int(fields["pid"]), float(fields["created"]), str(fields["address"]))
                for name, fields in content.items()
            }
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, KeyError, AttributeError):
            # Nothing is lost by starting from an empty state: running engines are found by their command line.
            return {}

    def write(self, state: dict[str, Recorded]) -> None:
        write_private(self._path, json.dumps({name: asdict(process) for name, process in state.items()}, indent=1))


@contextmanager
def locked(path: Path, seconds: float) -> Iterator[None]:
    """Hold the stack's lock; the system frees it when the holder dies, however it dies."""
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+") as file:
        deadline = time.monotonic() + seconds
        while not _acquired(file.fileno()):
            if time.monotonic() > deadline:
                raise StackError(
                    f"Another command has been starting or stopping this stack for {seconds:.0f} s ({path})."
                )
            time.sleep(_LOCK_POLL_SECONDS)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)


def _acquired(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
