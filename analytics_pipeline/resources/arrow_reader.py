"""The process that reads one result from Postgres as Arrow and writes it to its standard output, frame by frame.

It is a process of its own for three reasons: ADBC's driver aborts the process it runs in when a server ends a session
between two statements; it waits for a silent server for ever; and only a process that ends frees its locks at a moment
that nobody can delay. `arrow.py` starts it and reads the frames.

It reads its request, a line of JSON, from standard input, and ends when that is closed: with whoever started it.
"""

import json
import os
import signal
import struct
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from io import BytesIO
from typing import Any

import adbc_driver_manager
import adbc_driver_postgresql
import nanoarrow
from adbc_driver_manager import AdbcConnection, AdbcStatement
from adbc_driver_postgresql import StatementOptions
from nanoarrow.c_array_stream import CArrayStream
from nanoarrow.ipc import StreamWriter

# A kind, the number of rows, and the bytes that follow.
FRAME = struct.Struct("!cQQ")
# The session is open; from now on the statement holds its locks.
BEGUN = b"B"
PART = b"P"
FAILED = b"F"
ENDED = b"E"


def main() -> None:
    """Read the request, and answer it in frames."""
    request = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Nothing handles this signal: the kernel itself ends the process, whatever it is waiting for.
    signal.alarm(request["open_seconds"])
    try:
        with _session(request["url"], request["prepare"]) as statement:
            _frame(BEGUN)
            signal.alarm(request["read_seconds"])
            for rows, content in _parts(statement, request["statement"], request["batch_bytes"]):
                _frame(PART, rows, content)
        _frame(ENDED)
    except (adbc_driver_manager.Error, RuntimeError) as error:
        _frame(FAILED, 0, json.dumps(_told(error)).encode())


def _end_with_parent() -> None:
    # Not by way of `sys.stdin`: Python aborts a process that ends while a thread is reading from that.
    os.read(sys.stdin.fileno(), 1)
    os._exit(0)


def _told(error: Exception) -> Mapping[str, Any]:
    return {"text": str(error), "sqlstate": getattr(error, "sqlstate", None)}


def _frame(kind: bytes, rows: int = 0, content: bytes = b"") -> None:
    sys.stdout.buffer.write(FRAME.pack(kind, rows, len(content)))
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


@contextmanager
def _session(url: str, prepare: list[str]) -> Iterator[AdbcStatement]:
    with ExitStack() as opened:
        database = opened.enter_context(adbc_driver_postgresql.connect(url))
        statement = opened.enter_context(AdbcStatement(opened.enter_context(AdbcConnection(database))))
        for setting in prepare:
            statement.set_sql_query(setting)
            statement.execute_update()
        yield statement


def _parts(statement: AdbcStatement, query: str, batch_bytes: int) -> Iterator[tuple[int, bytes]]:
    """How many rows, and their bytes in Arrow's streaming format; the schema first."""
    statement.set_options(**{StatementOptions.BATCH_SIZE_HINT_BYTES.value: str(batch_bytes)})
    statement.set_sql_query(query)
    handle, _ = statement.execute_query()
    sink = BytesIO()
    # A read under way has to end before its statement closes.
    with nanoarrow.c_array_stream(handle) as batches, StreamWriter.from_writable(sink) as writer:
        writer.write_stream(CArrayStream.from_c_arrays([], batches.get_schema()))
        yield 0, _drained(sink)
        for batch in batches:
            writer.write_array(batch)
            yield len(batch), _drained(sink)


def _drained(sink: BytesIO) -> bytes:
    content = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    return content


if __name__ == "__main__":
    main()
