"""One chDB handle: a connection with its own database, settings and temporary tables, used by one request at a time."""

import json
import re
import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Any

from analytics_pipeline.embedded.clickhouse.errors import TIMEOUT_EXCEEDED, UNKNOWN_SETTING, clickhouse_error

# chDB does not let the client choose the query id. A setting that only Redis and NATS tables read marks the handle's
# queries in system.processes instead (custom settings prefixes have no effect in chDB).
TAG_SETTING = "stream_like_engine_insert_queue"
# chDB reads any text as a SELECT; a server answers SYNTAX_ERROR.
_SERVER_SETTINGS = {"implicit_select": "0"}
_DEFAULT_DATABASE = "default"
_INLINE_TIMEOUT = re.compile(rb"\bmax_execution_time\s*=\s*'?([\d.]+)")
_SETTING_NAME = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True)
class Stats:
    """Work of a statement, as far as chDB tells.

    chDB does not know the rows read by an INSERT with data (ClickHouse counts them as read and as written), nor memory
    and CPU. Those read by a streamed SELECT are the ones until its first block, as the headers cannot wait for more.
    """

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    result_bytes: int = 0


@dataclass(frozen=True)
class Block:
    """A piece of an answer."""

    data: bytes
    stats: Stats


class Handle:
    """A chDB connection and a record of what was set on it, so that nothing survives the request that set it."""

    def __init__(self, number: int, connection: Any, settings: Mapping[str, str]) -> None:
        self.tag = f"handle-{number}"
        self._connection = connection
        self._execute(b"SET " + _assignments({**_SERVER_SETTINGS, **settings, TAG_SETTING: self.tag}, ()))
        self._session_database = self._database = _DEFAULT_DATABASE
        self._fresh = self._session = self._current = self._changed_settings()

    def prepare(self, database: str | None, settings: Mapping[str, str]) -> None:
        """Gives the next statement the session's settings and these, and nothing of the request before it."""
        self._change_settings({**self._session, **settings})
        self._use(database or self._session_database)

    def adopt(self, request_settings: Iterable[str]) -> None:
        """Keeps for the session what SET and USE did, without the settings that only came with the request."""
        self._current = self._changed_settings()
        only_now = set(request_settings) - self._session.keys()
        self._session = {name: value for name, value in self._current.items() if name not in only_now}
        self._database = self._session_database = self._column("SELECT currentDatabase()")[0]

    def scrub(self) -> None:
        """Becomes a fresh handle again; raises when that is impossible (`SET readonly` cannot be taken back)."""
        self.adopt(())
        for table in self._column("SELECT name FROM system.tables WHERE is_temporary"):
            self._execute(f"DROP TEMPORARY TABLE IF EXISTS {identifier(table)}".encode())
        self._session, self._session_database = self._fresh, _DEFAULT_DATABASE
        self.prepare(None, {})

    def classify(self, sql: bytes) -> tuple[str, int]:
        """Returns the engine's class of a statement (READ_ONLY, CONTROL, ...) and how many statements there are."""
        found = self._connection._conn.classify_query(sql)
        return found["query_class"].name, found["statement_count"]

    def query(self, sql: bytes, fmt: str, params: Mapping[str, str]) -> Block:
        """Runs a statement to its end."""
        return _block(self._connection.query(sql, fmt, params=dict(params)))

    def stream(self, sql: bytes, fmt: str, params: Mapping[str, str]) -> Generator[Block, None, None]:
        """Yields the answer block by block; closing the iterator cancels the query."""
        with self._connection.send_query(sql, fmt, params=dict(params)) as result:
            yield from map(_block, iter(result.fetch, None))

    def insert(self, sql: bytes, fmt: str, chunks: Iterable[bytes]) -> Stats:
        """Inserts rows as they arrive; an exception in `chunks` cancels the INSERT.

        The engine calls an INSERT that passes `max_execution_time` a success and stores nothing of it, so the time is
        looked at here, before each piece and at the end.
        """
        began, limit = time.monotonic(), self._longest(sql)
        with self._connection.send_insert(sql, fmt) as inserter:
            for chunk in chunks:
                _refuse_late(began, limit)
                inserter.append(chunk)
            _refuse_late(began, limit)
            done = inserter.finish()
        _refuse_late(began, limit)
        return Stats(written_rows=done.rows_written, written_bytes=done.bytes_written)

    def _longest(self, sql: bytes) -> float:
        """Returns the seconds that a statement may take; infinite when it is not to fail for that."""
        inline = _INLINE_TIMEOUT.search(sql)
        text = inline[1].decode() if inline else self._current.get("max_execution_time", "0")
        throws = self._current.get("timeout_overflow_mode", "throw") == "throw"
        return (float(text) if throws else 0.0) or inf

    def close(self) -> None:
        """Closes the connection; chDB keeps some of its threads and files, so only for the end and accidents."""
        self._connection.close()

    def _change_settings(self, wanted: dict[str, str]) -> None:
        changed = {name: value for name, value in wanted.items() if self._current.get(name) != value}
        dropped = self._current.keys() - wanted.keys()
        if not changed and not dropped:
            return
        statement = b"SET " + _assignments(changed, dropped)
        before, self._current = self._current, wanted
        try:
            self._execute(statement)
        except RuntimeError:
            self._undo(changed.keys() | dropped, before)
            raise

    def _undo(self, names: Iterable[str], before: dict[str, str]) -> None:
        """A refused SET may have been applied in part: takes every one of its names back."""
        for name in names:
            with suppress(RuntimeError):  # The unknown name that made the SET fail fails here as well.
                old = {name: before[name]} if name in before else {}
                self._execute(b"SET " + _assignments(old, () if old else (name,)))
        self._current = before

    def _use(self, database: str) -> None:
        if database != self._database:
            self._execute(f"USE {identifier(database)}".encode())
            self._database = database

    def _changed_settings(self) -> dict[str, str]:
        sql = b"SELECT name, value FROM system.settings WHERE changed AND name != 'database'"
        rows = self._connection.query(sql, "JSONCompactEachRow").bytes().splitlines()
        return dict(json.loads(row) for row in rows)

    def _column(self, sql: str) -> list[str]:
        rows = self._connection.query(sql, "JSONCompactEachRow").bytes().splitlines()
        return [json.loads(row)[0] for row in rows]

    def _execute(self, sql: bytes) -> None:
        self._connection.query(sql, "Null")


def _refuse_late(began: float, limit: float) -> None:
    elapsed = time.monotonic() - began
    if elapsed >= limit:
        raise clickhouse_error(
            TIMEOUT_EXCEEDED, f"Timeout exceeded: elapsed {elapsed * 1000:.3f} ms, maximum: {limit * 1000:.3f} ms."
        )


def _assignments(values: Mapping[str, str], defaults: Iterable[str]) -> bytes:
    pairs = [f"{_setting(name)} = {quote(value)}" for name, value in values.items()]
    pairs += [f"{_setting(name)} = DEFAULT" for name in defaults]
    return ", ".join(pairs).encode()


def _setting(name: str) -> str:
    if not _SETTING_NAME.fullmatch(name):
        raise clickhouse_error(UNKNOWN_SETTING, f"Unknown setting {name!r}: parameters of the URL are settings")
    return name


def quote(text: str) -> str:
    """Returns a SQL string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def identifier(name: str) -> str:
    """Returns a quoted identifier."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _block(result: Any) -> Block:
    data = result.bytes()
    stats = Stats(
        read_rows=result.storage_rows_read(),
        read_bytes=result.storage_bytes_read(),
        written_rows=result.rows_written(),
        written_bytes=result.bytes_written(),
        result_rows=result.rows_read(),
        result_bytes=len(data),
    )
    return Block(data, stats)
