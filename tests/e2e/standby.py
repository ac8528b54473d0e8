"""A hot standby of the stack's PostgreSQL: a real replica, made by pg_basebackup and followed by streaming."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

from analytics_pipeline.embedded.postgres import _account, _program

PORT = 5433
_PATIENCE_SECONDS = 60.0


@contextmanager
def standby(primary_url: str) -> Iterator[str]:
    """The URL of a replica's database of the same name; it ends with the block."""
    primary = conninfo_to_dict(primary_url)
    sockets = Path(str(primary["host"]))
    user, group = _account(sockets)
    directory = Path(tempfile.mkdtemp(prefix="standby-", dir=sockets.parent))
    os.chown(directory, user, group)
    data = directory / "data"
    backup = [str(_program("pg_basebackup")), "-h", str(sockets), "-p", str(primary["port"]), "-U", "postgres"]
    assert _started([*backup, "-D", str(data), "-R", "-c", "fast"], directory, user, group).wait() == 0
    # Of some settings a standby needs as much as its primary has.
    options = (
        f"port={PORT}",
        f"unix_socket_directories={directory}",
        "listen_addresses=",
        "max_connections=200",
        "max_prepared_transactions=20",
        # The primary hears of its lag as often, in seconds.
        "wal_receiver_status_interval=1",
    )
    arguments = [str(_program("postgres")), "-D", str(data), *(word for option in options for word in ("-c", option))]
    server = _started(arguments, directory, user, group)
    try:
        url = (
            f"postgresql://postgres@/{unquote(urlsplit(primary_url).path[1:])}?host={quote(str(directory))}&port={PORT}"
        )
        wait_until_replayed(primary_url, url)
        yield url
    finally:
        # A fast end: sessions that are kept for a test do not hold it up.
        server.send_signal(signal.SIGINT)
        server.wait(30)
        shutil.rmtree(directory, ignore_errors=True)


def _started(arguments: list[str], directory: Path, user: int, group: int) -> subprocess.Popen[bytes]:
    """The program as PostgreSQL's own user, which root is not."""
    as_root = os.geteuid() == 0
    return subprocess.Popen(
        arguments,
        env={name: value for name, value in os.environ.items() if not name.startswith("PG")},
        cwd=directory,
        stderr=subprocess.DEVNULL,
        user=user if as_root else None,
        group=group if as_root else None,
        extra_groups=[] if as_root else None,
    )


def wait_until_replayed(primary_url: str, standby_url: str) -> None:
    """Return when the standby has everything that the primary has now."""
    with psycopg.connect(primary_url) as connection:
        ((written,),) = connection.execute("SELECT pg_current_wal_lsn()::text").fetchall()
    limit = time.monotonic() + _PATIENCE_SECONDS
    while not _has_replayed(standby_url, written):
        assert time.monotonic() < limit, "the standby does not follow"
        time.sleep(0.05)


def _has_replayed(url: str, written: str) -> bool:
    try:
        with psycopg.connect(url) as connection:
            ((done,),) = connection.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", [written]).fetchall()
        return bool(done)
    except psycopg.OperationalError:
        return False
