"""What befalls a process of the pipeline at its n-th moment with a store: it dies, is cut off, or is slow.

Each call of a store has two moments: just before it is sent, and just after it was done there, when the caller has not
heard of it yet.
"""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, NoReturn, TypeAlias
from weakref import WeakSet

import obstore
import psycopg
from botocore.client import BaseClient
from botocore.exceptions import EndpointConnectionError
from clickhouse_connect.driver import exceptions as clickhouse_exceptions
from clickhouse_connect.driver.httpclient import HttpClient
from obstore.exceptions import GenericError

Kind: TypeAlias = Literal["death", "cut", "slow"]
DIED = 86
_READS = ("SELECT", "WITH", "SET", "EXPLAIN", "SHOW", "BEGIN", "DESCRIBE", "EXISTS")


@dataclass(frozen=True)
class Fault:
    """What happens at which moment of the calls that are counted.

    `writes` counts those alone that may change a store, `containing` those whose statement contains the text.
    """

    kind: Kind
    moment: int
    writes: bool = False
    containing: str = ""

    def counts(self, statement: str) -> bool:
        return self.containing in statement and (not self.writes or _is_write(statement))


@dataclass
class Moments:
    """Counts the moments of this process, and lets the fault happen at its own."""

    fault: Fault | None
    pause: Callable[[], None]
    passed: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def around(self, statement: str, call: Callable[[], Any], cut: Callable[[], NoReturn]) -> Any:
        """Make the call, with its two moments."""
        self._moment(statement, cut)
        answer = call()
        self._moment(statement, cut)
        return answer

    def _moment(self, statement: str, cut: Callable[[], NoReturn]) -> None:
        if self.fault is None or not self.fault.counts(statement):
            return
        with self.lock:
            self.passed += 1
            is_now = self.passed == self.fault.moment
        if not is_now:
            return
        if self.fault.kind == "death":
            os._exit(DIED)
        if self.fault.kind == "cut":
            cut()
        self.pause()


def install(moments: Moments) -> None:
    """From now on every call of a store in this process is counted. There is no way back: the process is a child."""
    _count_postgres(moments)
    _count_clickhouse(moments)
    _count_dynamodb(moments)
    _count_landing_zone(moments)


def _count_postgres(moments: Moments) -> None:
    changed: WeakSet[Any] = WeakSet()
    execute, executemany, commit = psycopg.Cursor.execute, psycopg.Cursor.executemany, psycopg.Connection.commit

    def counted_execute(self: Any, query: Any, *arguments: Any, **named: Any) -> Any:
        text = query if isinstance(query, str | bytes) else query.as_string(self.connection)
        text = text.decode() if isinstance(text, bytes) else text
        if _is_write(text):
            changed.add(self.connection)
        call = partial(execute, self, query, *arguments, **named)
        return moments.around(text, call, partial(_cut_postgres, self.connection))

    def counted_executemany(self: Any, query: Any, *arguments: Any, **named: Any) -> Any:
        changed.add(self.connection)
        call = partial(executemany, self, query, *arguments, **named)
        return moments.around(str(query), call, partial(_cut_postgres, self.connection))

    def counted_commit(self: Any) -> Any:
        # One that has nothing to commit changes nothing.
        what = "COMMIT" if self in changed else "SELECT"
        changed.discard(self)
        return moments.around(what, partial(commit, self), partial(_cut_postgres, self))

    psycopg.Cursor.execute = counted_execute  # type: ignore[method-assign]
    psycopg.Cursor.executemany = counted_executemany  # type: ignore[method-assign]
    psycopg.Connection.commit = counted_commit  # type: ignore[method-assign]


def _cut_postgres(connection: psycopg.Connection) -> NoReturn:
    connection.pgconn.finish()
    raise psycopg.OperationalError("consuming input failed: server closed the connection unexpectedly")


def _count_clickhouse(moments: Moments) -> None:
    def cut() -> NoReturn:
        raise clickhouse_exceptions.OperationalError("Error ('Connection aborted.') executing HTTP request")

    def counted(name: str) -> Callable[..., Any]:
        original = getattr(HttpClient, name)

        def call(self: Any, what: Any, *arguments: Any, **named: Any) -> Any:
            statement = f"INSERT INTO {what}" if "insert" in name else str(what)
            return moments.around(statement, partial(original, self, what, *arguments, **named), cut)

        return call

    for name in ("query", "raw_stream", "insert", "raw_insert"):
        setattr(HttpClient, name, counted(name))


def _count_dynamodb(moments: Moments) -> None:
    client: Any = BaseClient
    call_api = client._make_api_call

    def cut() -> NoReturn:
        raise EndpointConnectionError(endpoint_url="the store")

    def counted(self: Any, name: str, parameters: Any) -> Any:
        return moments.around(f"SELECT {name}", partial(call_api, self, name, parameters), cut)

    client._make_api_call = counted


def _count_landing_zone(moments: Moments) -> None:
    def cut() -> NoReturn:
        raise GenericError("the store cannot be reached")

    def counted(name: str) -> Callable[..., Any]:
        original = getattr(obstore, name)

        def call(*arguments: Any, **named: Any) -> Any:
            what = name if name in ("put", "delete") else f"SELECT {name}"
            return moments.around(what, partial(original, *arguments, **named), cut)

        return call

    for name in ("put", "delete", "get", "open_writer"):
        setattr(obstore, name, counted(name))


def _is_write(statement: str) -> bool:
    # An empty one asks whether the server is still there.
    text = statement.lstrip(" \n(").upper()
    return text != "" and not text.startswith(_READS)
