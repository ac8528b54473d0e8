"""Results of any size from Postgres in Arrow's streaming format, as ClickHouse reads it."""

import fcntl
import json
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, NoReturn, cast

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from analytics_pipeline.addresses import without_credentials
from analytics_pipeline.resources import arrow_reader
from analytics_pipeline.resources.arrow_reader import ENDED, FAILED, FRAME
from analytics_pipeline.resources.postgres import Connection, Postgres
from analytics_pipeline.resources.sessions import (
    APPLY_SETTINGS,
    CONNECT_TIMEOUT_SECONDS,
    CONNECTION_OPTIONS,
    GRACE_SECONDS,
    Stopped,
    lost_moment,
    refusal,
    session_settings,
)

_BATCH_BYTES = 256 << 10
# Bytes that are read ahead of the consumer.
_PIPE_BYTES = 1 << 20
_POLL_MILLISECONDS = 200
_CUT = b""


class LockHeldTooLong(Exception):
    """A stream was ended because no lock on a relation of the product may last longer. `rows`: sent so far."""

    def __init__(self, seconds: int, rows: int) -> None:
        self.rows = rows
        super().__init__(
            f"Postgres sent {rows} rows within the {seconds} s (COPY_LOCK_SECONDS) that one statement may hold a lock"
            " on a relation of the product"
        )


@dataclass(frozen=True)
class ArrowPart:
    """A part of a stream in Arrow's streaming format, and how many rows it holds."""

    rows: int
    content: bytes


def exported_snapshot(connection: Connection) -> str:
    """Exports what the connection's transaction sees, for other connections to see as well while it is open."""
    ((name,),) = connection.execute("SELECT pg_export_snapshot()").fetchall()
    return str(name)


@contextmanager
def arrow_stream(postgres: Postgres, statement: str, snapshot: str) -> Iterator[Iterator[ArrowPart]]:
    """A result of any size, as of an exported snapshot, in Arrow's streaming format. Python decodes none of it.

    It comes in parts of a fraction of a megabyte, the schema first. Timestamps that are infinite arrive as others,
    without a word: the statement has to leave them out. What goes wrong in Postgres is raised here at the end, whatever
    the user of the parts made of it.

    Raises:
        ConnectionError: the server does not answer, or stops on the way; the text shows no credentials.
        LockHeldTooLong: it was not at its end after `postgres.lock_seconds`.
        MomentLost: the session that exported the snapshot has ended.
        psycopg.Error: Postgres refuses the statement.
        Stopped: `postgres.stop` was set.
    """
    stream = _Stream(postgres, _started(_request(postgres, statement, snapshot)))
    try:
        stream.open()
        yield stream.parts()
    except BaseException:
        if stream.failure is not None:
            raise stream.failure from None
        raise
    finally:
        stream.close()


def _request(postgres: Postgres, statement: str, snapshot: str) -> bytes:
    hosts = str(conninfo_to_dict(postgres.url).get("host") or "").count(",") + 1
    settings = session_settings(postgres.lock_seconds + GRACE_SECONDS) | {
        # Handing each row from a worker to its leader costs more than the worker saves.
        "max_parallel_workers_per_gather": "0"
    }
    prepare = [
        sql.SQL(APPLY_SETTINGS).format(names=[*settings], values=[*settings.values()]),
        sql.SQL("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
        sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)),
    ]
    request = {
        "url": make_conninfo(postgres.url, **CONNECTION_OPTIONS),
        "prepare": [one.as_string(None) for one in prepare],
        "statement": statement,
        "batch_bytes": _BATCH_BYTES,
        "open_seconds": round(hosts * CONNECT_TIMEOUT_SECONDS + GRACE_SECONDS),
        "read_seconds": postgres.lock_seconds,
    }
    return json.dumps(request).encode() + b"\n"


def _started(request: bytes) -> subprocess.Popen[bytes]:
    """The reader, which has its request: an address with a password is nothing for a command line."""
    process = subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-m", arrow_reader.__name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        # An interrupt from the keyboard is for us to act on.
        start_new_session=True,
    )
    wanted, asked = cast(IO[bytes], process.stdout), cast(IO[bytes], process.stdin)
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        fcntl.fcntl(wanted, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    with suppress(BrokenPipeError):  # its exit code says more
        asked.write(request)
    return process


class _Stream:
    """The output of a reader; `failure` is what ended it."""

    def __init__(self, postgres: Postgres, process: subprocess.Popen[bytes]) -> None:
        self._postgres = postgres
        self._process = process
        self._frames = cast(IO[bytes], process.stdout)
        self._ready = select.poll()
        self._ready.register(self._frames, select.POLLIN)
        self._begun = False
        self._rows = 0
        self.failure: Exception | None = None

    def open(self) -> None:
        """Wait until the session is open, and its statement has begun."""
        self._frame()
        self._begun = True

    def parts(self) -> Iterator[ArrowPart]:
        while (frame := self._frame()) is not None:
            self._rows += frame.rows
            yield frame

    def _frame(self) -> ArrowPart | None:
        header = self._read(FRAME.size)
        kind, rows, length = FRAME.unpack(header) if len(header) == FRAME.size else (_CUT, 0, 0)
        content = self._read(length)
        if kind == _CUT or len(content) < length:
            self._fail(self._cut())
        if kind == FAILED:
            self._fail(self._refused(**json.loads(content)))
        return None if kind == ENDED else ArrowPart(rows, content)

    def close(self) -> None:
        """End the reader, wherever it is; Postgres notices within a second."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            cast(IO[bytes], pipe).close()

    def _read(self, length: int) -> bytes:
        """So many bytes, or fewer at the end."""
        chunks, missing = [], length
        while missing:
            ready = self._ready.poll(_POLL_MILLISECONDS)
            if self._postgres.stop is not None and self._postgres.stop.is_set():
                self._fail(Stopped("the work was stopped"))
            if not ready:
                continue
            if not (chunk := self._frames.read(missing)):
                break
            chunks.append(chunk)
            missing -= len(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _fail(self, error: Exception) -> NoReturn:
        self.failure = error
        # Not the error itself: who is asked for a body by an HTTP client takes many for the client's own.
        raise _Ended

    def _cut(self) -> Exception:
        code = self._process.wait()
        place = f"Postgres at {without_credentials(self._postgres.url)}"
        if code > 0:
            return RuntimeError(f"{arrow_reader.__name__} ended with {code}; run it with python -m to see why")
        if code != -signal.SIGALRM:
            return ConnectionError(f"{place}: the server ended the session between two statements. Run this again")
        if self._begun:
            return LockHeldTooLong(self._postgres.lock_seconds, self._rows)
        return ConnectionError(f"{place}: the server took the connection and does not answer")

    def _refused(self, text: str, sqlstate: str | None) -> Exception:
        if not self._begun:
            refused = refusal(self._postgres.url, self._postgres.variable, text, sqlstate)
            return lost_moment(sqlstate) or refused
        # The first line, without the driver's and the server's words before it: the next ones show the statement.
        told = text.partition("\n")[0]
        found = _SERVER_ERROR.search(told)
        try:
            kind: type[psycopg.Error] = psycopg.errors.lookup(sqlstate or "")
        except KeyError:
            # The driver does not tell it in the middle of the rows, where nothing but values can be wrong.
            kind = psycopg.DataError
            if found is None or _CANCELLED.search(told):
                return ConnectionError(f"Postgres stopped in the middle of a result: {told}")
        return kind(found["words"] if found else told)


# As the server says it, in whatever language: a severity, of which only these two end the session, and its words.
_SERVER_ERROR = re.compile(r": (?!FATAL|PANIC)\w+:  (?P<words>.+)")
# By a replica that replays, or by somebody who looks after the server.
_CANCELLED = re.compile(r"cancell?ing statement")


class _Ended(Exception):
    """The stream has ended before its end; what ended it is the stream's `failure`."""
