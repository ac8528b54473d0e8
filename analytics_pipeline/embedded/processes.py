"""Detached processes: started in their own session, recognised later, ended by pid and never by name.

A pid alone proves nothing, since the system gives it to somebody else once its process is gone. A process is ours when
the pid, the time it was created and the beginning of its command line all agree.
"""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

# Clock corrections shift the creation time that the system reports by fractions of a second.
_CLOCK_TOLERANCE_SECONDS = 2.0
_POLL_SECONDS = 0.05
_KILLED_SECONDS = 0.5
_TAIL_LINES = 15
_LOG_BYTES = 10_000_000


class StackError(Exception):
    """The embedded stack cannot do what was asked; the text names the cause, the log and the repair."""


@dataclass(frozen=True)
class Recorded:
    """Record of a started process, by which a later command recognises it."""

    pid: int
    created: float
    address: str = ""


@dataclass(frozen=True)
class Command:
    """One process to start. `signature` is the beginning of `arguments` that identifies it: no port, no secret."""

    arguments: Sequence[str]
    signature: Sequence[str]
    environment: Mapping[str, str]
    directory: Path
    log: Path
    user: int | None = None
    group: int | None = None


def start(command: Command) -> "subprocess.Popen[bytes]":
    """Start it so that neither the end of this process nor Ctrl-C in its terminal reaches it."""
    with _log_for_appending(command.log) as log:
        return subprocess.Popen(  # noqa: S603 - our own command line, no shell
            list(command.arguments),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=command.directory,
            env=dict(command.environment),
            start_new_session=True,
            user=command.user,
            group=command.group,
            extra_groups=None if command.user is None else [],
        )


def _log_for_appending(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab", buffering=0)


def recorded(pid: int, address: str = "") -> Recorded:
    return Recorded(pid, psutil.Process(pid).create_time(), address)


def find(process: Recorded | None, signature: Sequence[str]) -> psutil.Process | None:
    """The process that was recorded, or nothing when it is gone or its pid belongs to somebody else now."""
    if process is None:
        return None
    try:
        found = psutil.Process(process.pid)
        same = abs(found.create_time() - process.created) < _CLOCK_TOLERANCE_SECONDS
        return found if same and _is_alive(found) and _has_signature(found, signature) else None
    except psutil.Error:
        return None


def _is_alive(process: psutil.Process) -> bool:
    # A container without an init leaves ended processes as zombies.
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def _has_signature(process: psutil.Process, signature: Sequence[str]) -> bool:
    # The interpreter may be started through a link, so the program itself counts by its file name.
    line = process.cmdline()
    same_program = bool(line) and _program(line[0]) == _program(signature[0])
    return same_program and line[1 : len(signature)] == list(signature[1:])


def _program(path: str) -> str:
    return re.sub(r"[\d.]+$", "", Path(path).name)


def orphans(signature: Sequence[str]) -> list[psutil.Process]:
    """Processes with this command line, however they were started: their caller was killed before it noted the pid."""
    return [process for process in psutil.process_iter() if _is_orphan(process, signature)]


def _is_orphan(process: psutil.Process, signature: Sequence[str]) -> bool:
    try:
        return _has_signature(process, signature) and _is_alive(process)
    except psutil.Error:
        return False


def stop(process: psutil.Process, polite: signal.Signals, seconds: float) -> None:
    """End a process and everything it started: politely, and by force when `seconds` have passed."""
    family = [process, *_descendants(process)]
    _signal([process], polite)
    _, alive = psutil.wait_procs(family[:1], timeout=seconds)
    stop_all([*alive, *family[1:]])


def stop_all(processes: Iterable[psutil.Process], seconds: float = 2.0) -> None:
    """End these at once: a short grace, then force."""
    alive = [process for process in processes if process.is_running()]
    _signal(alive, signal.SIGTERM)
    _, alive = psutil.wait_procs(alive, timeout=seconds)
    _signal(alive, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=seconds)


def stop_children(polite: Mapping[int, signal.Signals], spared: Collection[int], seconds: float) -> None:
    """End all that this process has started, and all that those have: politely for `seconds`, then by force.

    `polite` holds the signals, by pid, of those that SIGTERM is not for; `spared` are pids that go on.
    """
    children = _children_but(spared)
    family = [process for child in children for process in (child, *_descendants(child))]
    for child in children:
        _signal([child], polite.get(child.pid, signal.SIGTERM))
    psutil.wait_procs(family, timeout=seconds)
    # Asked again, because another thread may have gone on starting some.
    again = [process for child in _children_but(spared) for process in (child, *_descendants(child))]
    rest = [process for process in {*family, *again} if process.is_running()]
    _signal(rest, signal.SIGKILL)
    psutil.wait_procs(rest, timeout=_KILLED_SECONDS)


def _children_but(spared: Collection[int]) -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if child.pid not in spared]


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def _signal(processes: Iterable[psutil.Process], number: int) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)  # psutil refuses when the pid has been given to another process


def wait_until(answered: Callable[[], str | None], child: "subprocess.Popen[bytes]", seconds: float) -> str | None:
    """The answer of `answered` as soon as it is not None; None when the child ended or the time is over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = answered()
        if answer is not None:
            return answer
        if child.poll() is not None:
            return None
        time.sleep(_POLL_SECONDS)
    return None


def rotate(log: Path) -> None:
    """Keep a log that many starts append to from growing for ever: one older part of it stays."""
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        log.replace(log.with_suffix(".old.log"))


def ready_line(log: Path, offset: int) -> str | None:
    """The URL of the `ready URL` line that a server of ours wrote into its log after `offset`."""
    with log.open("rb") as file:
        file.seek(offset)
        found = re.search(rb"^ready (http://\S+)\r?\n", file.read(), re.MULTILINE)
    return found.group(1).decode() if found else None


def tail(log: Path, offset: int = 0) -> str:
    """The last lines of a log, indented for an error text."""
    if not log.exists():
        return "  (no log)"
    with log.open("rb") as file:
        file.seek(offset)
        lines = file.read()[-8_000:].decode(errors="replace").splitlines()[-_TAIL_LINES:]
    return "\n".join(f"  {line}" for line in lines) or "  (the log is empty)"
