"""What the tests of the embedded stack share."""

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import clickhouse_connect
import psycopg

from analytics_pipeline.embedded.stack import Stack

START = "import sys; from pathlib import Path; from analytics_pipeline.embedded.stack import Stack; "
START += "Stack(Path(sys.argv[1])).up()"


@contextmanager
def temporary_home() -> Iterator[Path]:
    # A Unix socket needs a short path, which pytest's own directories do not have.
    home = Path(tempfile.mkdtemp(prefix="stack-"))
    try:
        yield home
    finally:
        Stack(home).down()
        shutil.rmtree(home)


def pids(stack: Stack) -> dict[str, int]:
    return {engine.name: engine.pid for engine in stack.status() if engine.pid is not None}


def remember(environment: Mapping[str, str], value: int) -> None:
    with psycopg.connect(environment["DATABASE_URL"]) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (value int)")
        connection.execute("TRUNCATE kept")
        connection.execute("INSERT INTO kept VALUES (%s)", (value,))
    clickhouse = clickhouse_connect.get_client(dsn=environment["CLICKHOUSE_URL"])
    clickhouse.command("CREATE OR REPLACE TABLE kept (value UInt8) ENGINE = MergeTree ORDER BY ()")
    clickhouse.insert("kept", [[value]], column_names=["value"])


def remembered(environment: Mapping[str, str]) -> tuple[object, object]:
    with psycopg.connect(environment["DATABASE_URL"], autocommit=True) as connection:
        rows = connection.execute("SELECT value FROM kept").fetchall()
    clickhouse = clickhouse_connect.get_client(dsn=environment["CLICKHOUSE_URL"])
    return rows[0][0], clickhouse.command("SELECT value FROM kept")


def wait_until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(1200):
        if condition():
            return
        pause.wait(0.05)
    raise AssertionError("did not happen within 60 s")
