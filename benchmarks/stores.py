"""Engines of their own for a benchmark, in memory where there is room: what is compared is work, not disks."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from analytics_pipeline.config import Settings
from analytics_pipeline.embedded.stack import Stack
from analytics_pipeline.embedded.throwaway import throwaway_directory
from analytics_pipeline.migrations import migrate
from analytics_pipeline.resources.postgres import postgres
from analytics_pipeline.resources.sql_files import sql_file

_ROOM_BYTES = 8 << 30


@contextmanager
def stores() -> Iterator[Settings]:
    """Empty, migrated engines in a temporary directory, exported as the environment."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=throwaway_directory(_ROOM_BYTES)) as home:
        stack = Stack(Path(home))
        try:
            os.environ.update(stack.up())
            settings = Settings.load()
            with postgres(settings).connect() as connection:
                connection.execute(sql_file("analytics_pipeline.demo", "schema.sql"))
            migrate(settings)
            yield settings
        finally:
            stack.down()
