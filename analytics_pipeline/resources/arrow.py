"""Results of any size from Postgres in Arrow's streaming format, as ClickHouse reads it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BytesIO

import adbc_driver_manager
import adbc_driver_postgresql
import nanoarrow
from adbc_driver_manager import AdbcConnection, AdbcStatement
from adbc_driver_postgresql import StatementOptions
from nanoarrow.c_array_stream import CArrayStream
from nanoarrow.ipc import StreamWriter
from psycopg.conninfo import make_conninfo

from analytics_pipeline.resources.postgres import (
    APPLICATION_NAME,
    CONNECT_TIMEOUT_SECONDS,
    Connection,
    Postgres,
    refusal,
)

_BATCH_BYTES = 256 << 10
_AS_READER = (
    "SET timezone = 'UTC'",
    "SET client_encoding = 'UTF8'",
    # Handing each row from a worker to its leader costs more than the worker saves.
    "SET max_parallel_workers_per_gather = 0",
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
)


@dataclass(frozen=True)
class ArrowPart:
    """A part of a stream in Arrow's streaming format, and how many rows it holds."""

    rows: int
    content: bytes


def exported_snapshot(connection: Connection) -> str:
    """What the connection's transaction sees, for other connections to see as well while it is open."""
    ((name,),) = connection.execute("SELECT pg_export_snapshot()").fetchall()
    return str(name)


@contextmanager
def arrow_stream(postgres: Postgres, statement: str, snapshot: str) -> Iterator[Iterator[ArrowPart]]:
    """A result of any size, as of an exported snapshot, in Arrow's streaming format. Python decodes none of it.

    It comes in parts of a fraction of a megabyte, the schema first. Timestamps that are infinite arrive as others,
    without a word: the statement has to leave them out.

    Raises:
        ConnectionError: the server does not answer, or stops on the way; the text shows no credentials.
    """
    with _statement(postgres) as reading:
        for setting in (*_AS_READER, f"SET TRANSACTION SNAPSHOT '{snapshot}'"):
            reading.set_sql_query(setting)
            reading.execute_update()
        reading.set_options(**{StatementOptions.BATCH_SIZE_HINT_BYTES.value: str(_BATCH_BYTES)})
        reading.set_sql_query(statement)
        handle, _ = reading.execute_query()
        # What is still being read has to end before its statement closes.
        with nanoarrow.c_array_stream(handle) as batches, ThreadPoolExecutor(1, "read-ahead") as reader:
            try:
                yield _read_ahead(_parts(batches), reader)
            except BaseException:
                # Closing alone would wait for all the rest.
                reading.cancel()
                raise


@contextmanager
def _statement(postgres: Postgres) -> Iterator[AdbcStatement]:
    url = make_conninfo(postgres.url, connect_timeout=CONNECT_TIMEOUT_SECONDS, application_name=APPLICATION_NAME)
    with ExitStack() as opened:
        try:
            database = opened.enter_context(adbc_driver_postgresql.connect(url))
            connection = opened.enter_context(AdbcConnection(database))
        except adbc_driver_manager.Error as error:
            raise refusal(postgres.url, postgres.variable, error) from None
        yield opened.enter_context(AdbcStatement(connection))


def _parts(batches: CArrayStream) -> Iterator[ArrowPart]:
    sink = BytesIO()
    with StreamWriter.from_writable(sink) as writer:
        writer.write_stream(CArrayStream.from_c_arrays([], batches.get_schema()))
        yield ArrowPart(0, _drained(sink))
        try:
            for batch in batches:
                writer.write_array(batch)
                yield ArrowPart(len(batch), _drained(sink))
        except RuntimeError as error:
            raise ConnectionError(f"Postgres stopped in the middle of a result: {error}") from error


def _drained(sink: BytesIO) -> bytes:
    content = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    return content


def _read_ahead(parts: Iterator[ArrowPart], reader: ThreadPoolExecutor) -> Iterator[ArrowPart]:
    """The parts, each read while the one before is being used: neither end waits for the other."""
    reading = reader.submit(next, parts, None)
    while (part := reading.result()) is not None:
        reading = reader.submit(next, parts, None)
        yield part
