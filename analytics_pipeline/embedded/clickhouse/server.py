"""Runs the server on one directory: its layout, its lock, its life from the first byte to SIGTERM."""

import asyncio
import fcntl
import ipaddress
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from analytics_pipeline.embedded.clickhouse.app import create_app
from analytics_pipeline.embedded.clickhouse.engine import MAX_HANDLES, ChdbEngine
from analytics_pipeline.embedded.clickhouse.execution import Credentials, Executor
from analytics_pipeline.embedded.clickhouse.handle import identifier

# Long enough for a killed query to report that it was killed.
_GRACE_SECONDS = 2
_KEEP_ALIVE_SECONDS = 60
_HEAD_SECONDS = 10
# The query log of chDB lives in memory and ends with the process. Settings of a request reach the engine as SET, which
# is logged as well: read the log WHERE query_kind != 'Set'.
_CONFIG = """<clickhouse>
  <query_log>
    <database>system</database>
    <table>query_log</table>
    <engine>ENGINE = MergeTree ORDER BY event_time TTL event_date + INTERVAL 1 DAY DELETE</engine>
    <flush_interval_milliseconds>7500</flush_interval_milliseconds>
  </query_log>
</clickhouse>
"""
# The default hands each read that the page cache may not have to another thread, and a file system in memory never says
# that it has: a statement over hundreds of small parts took half as long again.
_SETTINGS = {"local_filesystem_read_method": "pread"}
# Translating an expression to machine code takes longer than evaluating it for some thousand rows.
_FOR_SMALL_STATEMENTS = {
    "max_threads": "1",
    "compile_expressions": "0",
    "compile_aggregate_expressions": "0",
    "compile_sort_description": "0",
}


class StartupError(Exception):
    """The server cannot start; the text says why and what to do."""


@dataclass(frozen=True)
class Options:
    """Where the server lives and who may use it."""

    path: Path
    host: str
    port: int
    database: str | None
    account: Credentials
    statements_are_small: bool = False


def run_server(options: Options) -> None:
    """Serves until SIGTERM or SIGINT."""
    _require_loopback(options.host)
    with _locked(options.path), _listening(options.host, options.port) as listener:
        config = _prepare_directory(options.path)
        own = _FOR_SMALL_STATEMENTS if options.statements_are_small else {}
        engine = _open_engine(options.path, config, {**_SETTINGS, **own})
        try:
            if options.database:
                engine.text(f"CREATE DATABASE IF NOT EXISTS {identifier(options.database)} ENGINE = Atomic")
            _serve(engine, options, listener)
        finally:
            engine.close()


def _serve(engine: ChdbEngine, options: Options, listener: socket.socket) -> None:
    # More threads than handles: the ones over wait for a handle, not for a thread, and get an answer that says so.
    with ThreadPoolExecutor(2 * MAX_HANDLES, thread_name_prefix="request") as threads:
        app = create_app(Executor(engine, options.account), threads)
        settings = uvicorn.Config(
            app,
            http=_BoundedProtocol,
            log_level="warning",
            access_log=False,
            lifespan="off",
            ws="none",
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        _Server(settings, engine, _url(options.host, listener)).run(sockets=[listener])
        engine.kill_all()


class _BoundedProtocol(HttpToolsProtocol):
    """uvicorn's, which would wait for ever for the head of a connection's first request."""

    _has_begun = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.loop.call_later(_HEAD_SECONDS, self._close_without_request)

    def on_headers_complete(self) -> None:
        self._has_begun = True
        super().on_headers_complete()

    def _close_without_request(self) -> None:
        if not self._has_begun:
            self.transport.close()


class _Server(uvicorn.Server):
    """uvicorn that says when it answers and stops the running queries before it waits for them."""

    def __init__(self, config: uvicorn.Config, engine: ChdbEngine, url: str) -> None:
        super().__init__(config)
        self._engine = engine
        self._url = url
        # uvicorn raises the signal again after its shutdown, when the engine is still open: a handler that does
        # nothing then lets the process end by itself.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    def _stop(self, *_: object) -> None:
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        sys.stdout.write(f"ready {self._url}\n")
        sys.stdout.flush()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await asyncio.to_thread(self._engine.kill_all)
        await super().shutdown(sockets)


def _require_loopback(host: str) -> None:
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise StartupError(f"--host {host} is not a loopback address: this server is for one machine. Use 127.0.0.1")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds the directory; the kernel frees the lock however the process ends."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (path / "server.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise StartupError(
                f"{path} is in use by the ClickHouse server with process id {lock.read().strip() or 'unknown'}: "
                "use that server, stop it, or choose another --path"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=512)
    except (OSError, OverflowError) as error:
        raise StartupError(
            f"Cannot listen on {host}:{port} ({error}): choose another --port, or 0 for a free one"
        ) from error
    with listener:
        yield listener


def _prepare_directory(path: Path) -> Path:
    """Sweeps what a killed server left and points temporary files next to the data; returns the engine's config."""
    temporary = path / "tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    os.environ["TMPDIR"] = str(temporary)
    tempfile.tempdir = str(temporary)
    config = path / "config.xml"
    config.write_text(_CONFIG)
    return config


def _open_engine(path: Path, config: Path, settings: Mapping[str, str]) -> ChdbEngine:
    try:
        return ChdbEngine(path / "data", config, settings)
    except RuntimeError as error:
        raise StartupError(
            f"chDB cannot open {path / 'data'} ({error}): another program has it open with chdb://, or it is damaged. "
            "Close that program, or restore the directory"
        ) from error


def _url(host: str, listener: socket.socket) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
