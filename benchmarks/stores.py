"""Engines of their own for a benchmark, in memory where there is room: what is compared is work, not disks."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager

from analytics_pipeline.config import Settings
from analytics_pipeline.embedded.throwaway import throwaway_stack
from analytics_pipeline.migrations import migrate
from analytics_pipeline.resources.postgres import Connection, Postgres, postgres
from analytics_pipeline.resources.sql_files import sql_file

_ROOM_BYTES = 8 << 30
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def stores() -> Iterator[Settings]:
    """Empty, migrated engines in a temporary directory, exported as the environment.

    They end with the benchmark, also when a signal ends it; what a killed one left is removed by the next.
    """
    # Also where a shell that started it in the background lets it ignore Ctrl-C.
    for number in _ENDINGS:
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    with throwaway_stack("bench", _ROOM_BYTES) as stack:
        os.environ.update(stack.up())
        settings = Settings.load()
        with postgres(settings).connect() as connection:
            connection.execute(sql_file("analytics_pipeline.demo", "schema.sql"))
        migrate(settings)
        yield settings


@contextmanager
def unhurried(store: Postgres) -> Iterator[Connection]:
    """A connection that commits each statement, which may take an hour: a busy machine is no reason to fail."""
    with closing(store.open(autocommit=True, statement_seconds=3_600)) as connection:
        yield connection
