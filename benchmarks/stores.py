"""Engines of their own for a benchmark.

Their files are in memory where that can be had: what is compared is work, and ext4 spends seconds on creating files
soon after thousands were deleted, which each round does.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from analytics_pipeline.config import Settings
from analytics_pipeline.embedded.stack import Stack
from analytics_pipeline.migrations import migrate
from analytics_pipeline.resources.postgres import postgres

_SHARED_MEMORY = "/dev/shm"  # noqa: S108 # a directory of its own is made there
_ROOM_BYTES = 8 << 30


@contextmanager
def stores() -> Iterator[Settings]:
    """Empty, migrated engines in a temporary directory, exported as the environment."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=_memory()) as home:
        stack = Stack(Path(home))
        try:
            os.environ.update(stack.up())
            settings = Settings.load()
            with postgres(settings).connect() as connection:
                connection.execute(files("analytics_pipeline.embedded.demo").joinpath("schema.sql").read_bytes())
            migrate(settings)
            yield settings
        finally:
            stack.down()


def _memory() -> str | None:
    """Where files live in memory, if there is room for a benchmark's."""
    if os.access(_SHARED_MEMORY, os.W_OK) and shutil.disk_usage(_SHARED_MEMORY).free > _ROOM_BYTES:
        return _SHARED_MEMORY
    return None
