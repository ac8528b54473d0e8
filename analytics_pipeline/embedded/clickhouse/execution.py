"""Runs one request: finds out what kind of statement it is and lets a handle do it."""

import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain

from starlette.types import Scope

from analytics_pipeline.embedded.clickhouse.answers import answer, command, select
from analytics_pipeline.embedded.clickhouse.compression import decode
from analytics_pipeline.embedded.clickhouse.engine import ChdbEngine
from analytics_pipeline.embedded.clickhouse.errors import (
    NOT_IMPLEMENTED,
    QUERY_ID_IN_USE,
    READONLY,
    SYNTAX_ERROR,
    ClickHouseError,
    ClientGoneError,
    as_clickhouse_error,
    clickhouse_error,
)
from analytics_pipeline.embedded.clickhouse.exchange import Exchange
from analytics_pipeline.embedded.clickhouse.handle import Handle
from analytics_pipeline.embedded.clickhouse.reply import Reply, ServerInfo
from analytics_pipeline.embedded.clickhouse.request import Request, collect, read_request, with_form
from analytics_pipeline.embedded.clickhouse.sessions import Lease, Sessions
from analytics_pipeline.embedded.clickhouse.sql import (
    SELECT_KEYWORDS,
    InsertHead,
    Statement,
    parse_insert,
    parse_statement,
    starts_with_insert,
)

# An INSERT that has not come to its rows after this much text is INSERT SELECT, or not one at all.
_MAX_HEAD_BYTES = 1024 * 1024
_STRING_LITERAL = re.compile(rb"'([^'\\]*)'")
# Statements of the engine's class CONTROL that change the session and nothing else.
_SESSION_KEYWORDS = frozenset({"SET", "USE", "CREATE", "DROP"})


@dataclass(frozen=True)
class Credentials:
    """The one user."""

    user: str
    password: str


class Executor:
    """Serves requests, each in the thread that calls `serve`."""

    def __init__(self, engine: ChdbEngine, account: Credentials) -> None:
        self._engine = engine
        self._account = account
        self._sessions = Sessions(engine)
        self._running = _Running(engine)
        version, timezone = engine.text("SELECT version(), timezone()").split("\t")
        self._info = ServerInfo(version, timezone)

    def admit(self, scope: Scope) -> Request | ClickHouseError:
        """Returns the request of an authenticated client, or why it is refused; reads nothing of the body."""
        try:
            return read_request(scope, self._account.user, self._account.password)
        except Exception as error:  # noqa: BLE001 - whatever the head was, the client is told and the server goes on
            return as_clickhouse_error(error)

    def serve(self, exchange: Exchange, admitted: Request | ClickHouseError) -> None:
        """Answers one request; every failure becomes an answer as long as somebody listens."""
        reply = Reply(exchange, self._info)
        with suppress(ClientGoneError):
            try:
                self._serve(admitted, exchange, reply)
            except ClientGoneError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever broke, the client is told and the server goes on
                reply.fail(as_clickhouse_error(error))
            reply.finish()

    def _serve(self, request: Request | ClickHouseError, exchange: Exchange, reply: Reply) -> None:
        if isinstance(request, ClickHouseError):
            raise request
        chunks = decode(request.headers.get("content-encoding", ""), exchange.body())
        if request.headers.get("content-type", "").startswith("multipart/form-data"):
            request = with_form(request, exchange.scope, chunks)
        reply.query_id = request.query_id
        sql, head = _read_statement(request.statement, chunks)
        with self._sessions.lease(request.session) as lease, self._running.registered(request.query_id, lease.handle):
            if head is None or request.parameters():
                text = sql + collect(chunks)
                self._run_statement(request, parse_statement(text), lease, exchange, reply)
            else:
                _refuse_in_readonly(request)
                self._insert(request, head, chain((sql[head.data_start :],), chunks), lease.handle, reply)

    def _insert(self, request: Request, head: InsertHead, rows: Iterable[bytes], handle: Handle, reply: Reply) -> None:
        handle.prepare(request.database, request.settings())
        stats = handle.insert(head.text, head.format, rows)
        reply.succeed(None, stats, ())

    def _run_statement(
        self, request: Request, statement: Statement, lease: Lease, exchange: Exchange, reply: Reply
    ) -> None:
        kind = _checked_kind(request, statement, lease.handle)
        if statement.keyword == "KILL":
            self._kill(request, statement, reply)
            return
        lease.handle.prepare(request.database, request.settings())
        if kind == "CONTROL" and statement.keyword in _SESSION_KEYWORDS:
            self._change_session(request, statement, lease, reply)
        elif kind in ("READ_ONLY", "UNKNOWN"):
            exchange.when_gone(lambda: self._running.kill(request.query_id))
            select(request, statement, lease.handle, reply)
            exchange.when_gone(None)
        else:
            command(request, statement, lease.handle, reply)

    def _change_session(self, request: Request, statement: Statement, lease: Lease, reply: Reply) -> None:
        lease.stateful = True
        block = lease.handle.query(statement.text, request.format, request.parameters())
        if lease.in_session:
            lease.handle.adopt(request.settings())
        reply.succeed(None, block.stats, (block.data,))

    def _kill(self, request: Request, statement: Statement, reply: Reply) -> None:
        text = _STRING_LITERAL.sub(self._running.engine_literal, statement.text)
        with self._engine.control() as handle:
            handle.prepare(request.database, request.settings())
            answer(request, parse_statement(text), handle, reply)


class _Running:
    """The queries that run now, by the id that their client gave them; the engine knows them by ids of its own."""

    def __init__(self, engine: ChdbEngine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._handles: dict[str, Handle] = {}

    @contextmanager
    def registered(self, query_id: str, handle: Handle) -> Iterator[None]:
        with self._lock:
            if query_id in self._handles:
                raise clickhouse_error(QUERY_ID_IN_USE, f"Query with id = {query_id} is already running.")
            self._handles[query_id] = handle
        try:
            yield
        finally:
            with self._lock:
                del self._handles[query_id]

    def kill(self, query_id: str) -> None:
        engine_id = self._engine_id(query_id)
        if engine_id:
            self._engine.kill(engine_id)

    def engine_literal(self, literal: "re.Match[bytes]") -> bytes:
        """Replaces a client's query id in a KILL QUERY by the engine's; other literals stay."""
        engine_id = self._engine_id(literal[1].decode("utf-8", "replace"))
        return b"'" + engine_id.encode() + b"'" if engine_id else literal[0]

    def _engine_id(self, query_id: str) -> str | None:
        handle = self._handles.get(query_id)
        engine_id = self._engine.running_id(handle) if handle else None
        # Asked again: had the query ended meanwhile, the id would be that of another one on the same handle.
        return engine_id if self._handles.get(query_id) is handle else None


def _read_statement(start: bytes, chunks: Iterator[bytes]) -> tuple[bytes, InsertHead | None]:
    """Reads until the rows of an INSERT begin, or to the end of any other statement that is not too long."""
    sql = start + b"\n" if start else b""
    for chunk in chunks:
        sql += chunk
        head = parse_insert(sql, complete=False) if starts_with_insert(sql) else None
        if head or len(sql) > _MAX_HEAD_BYTES:
            return sql, head
    return sql, parse_insert(sql, complete=True) if starts_with_insert(sql) else None


def _checked_kind(request: Request, statement: Statement, handle: Handle) -> str:
    """Returns the engine's class of the statement, unless it must not run here."""
    if not statement.keyword:
        raise clickhouse_error(SYNTAX_ERROR, "Empty query: send the statement in the body or in the parameter `query`")
    kind, count = handle.classify(statement.text)
    if count > 1:
        raise clickhouse_error(SYNTAX_ERROR, "Multi-statements are not allowed: send one statement per request")
    if kind == "CONTROL" and statement.keyword in SELECT_KEYWORDS:
        raise clickhouse_error(NOT_IMPLEMENTED, "INTO OUTFILE is for clients: read the answer instead")
    reads = kind in ("READ_ONLY", "UNKNOWN") or statement.keyword in ("USE", "SET", "KILL")
    if not reads:
        _refuse_in_readonly(request)
    return kind


def _refuse_in_readonly(request: Request) -> None:
    if request.readonly:
        raise clickhouse_error(
            READONLY,
            "Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly. "
            "Use POST without the setting readonly for queries that change something",
        )
