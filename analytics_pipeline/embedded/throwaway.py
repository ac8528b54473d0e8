"""Engines that nobody keeps, those of tests and benchmarks: where they live, and that they end with their owner."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from analytics_pipeline.embedded.stack import Stack

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 # directories of their own are made there


@contextmanager
def throwaway_stack(name: str, room_bytes: int) -> Iterator[Stack]:
    """A stack in a directory of its own, which begins with `name`; at the end it is down and the directory is gone.

    A process that is killed leaves both behind: the next one of this name removes them.
    """
    _remove_leftovers(name)
    # Not in a test's own directory: a Unix socket needs a short path, and PostgreSQL's user has to get through.
    home = Path(tempfile.mkdtemp(prefix=f"{name}-{os.getpid()}-", dir=_parent(room_bytes)))
    stack = Stack(home)
    try:
        yield stack
    finally:
        stack.down()
        shutil.rmtree(home)


def _parent(room_bytes: int) -> Path:
    """In memory where there is that much room: they drop many tables, and ext4 is slow to reuse what was dropped."""
    if os.access(_SHARED_MEMORY, os.W_OK) and shutil.disk_usage(_SHARED_MEMORY).free > room_bytes:
        return _SHARED_MEMORY
    return Path(tempfile.gettempdir())


def _remove_leftovers(name: str) -> None:
    for home in (home for parent in (_SHARED_MEMORY, Path(tempfile.gettempdir())) for home in parent.glob(f"{name}-*")):
        owner = re.match(rf"{name}-(\d+)-", home.name)
        with suppress(FileNotFoundError):  # somebody else may be doing the same
            if owner and home.stat().st_uid == os.geteuid() and not psutil.pid_exists(int(owner.group(1))):
                Stack(home).down()
                shutil.rmtree(home, ignore_errors=True)
