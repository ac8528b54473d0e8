"""Sessions on Postgres that serve again: while a piece of work lasts, or in a pool of who serves many.

Opening one costs both ends as much as a dozen small questions. A tick asks some dozens, a run some hundreds.
"""

import os
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from select import POLLIN, poll
from threading import Lock
from typing import TypeAlias

import psycopg
from psycopg.pq import TransactionStatus
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from analytics_pipeline.resources.sessions import CONNECT_TIMEOUT_SECONDS, Session, Stopped

# For each address. Whatever is opened beside these, for threads that ask at once, is closed after its use.
_MOST_IDLE = 8


@dataclass
class _Shelf:
    """Sessions of this process that nobody uses, by address, while somebody is within `kept_sessions`."""

    holders: int = 0
    idle: dict[Hashable, list[Session]] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def take(self, address: Hashable) -> Session | None:
        with self.lock:
            idle = self.idle.get(address)
            return idle.pop() if idle else None

    def put(self, address: Hashable, session: Session) -> bool:
        """Whether it was wanted."""
        with self.lock:
            idle = self.idle.setdefault(address, [])
            wanted = self.holders > 0 and len(idle) < _MOST_IDLE
            if wanted:
                idle.append(session)
            return wanted

    def leave(self) -> list[Session]:
        """The sessions that the last one who leaves has to close."""
        with self.lock:
            self.holders -= 1
            left = [] if self.holders else [session for idle in self.idle.values() for session in idle]
            if not self.holders:
                self.idle.clear()
            return left


@cache
def _shelf(_process: int) -> _Shelf:
    """A forked process has one of its own: it must not speak on the sessions of its parent."""
    return _Shelf()


@contextmanager
def kept_sessions() -> Iterator[None]:
    """Until the end of this, sessions that any thread gives back are used again; then they are closed."""
    shelf = _shelf(os.getpid())
    with shelf.lock:
        shelf.holders += 1
    try:
        yield
    finally:
        for session in shelf.leave():
            session.close()


@contextmanager
def lent(address: Hashable, opened: Callable[[], Session]) -> Iterator[Session]:
    """A session to the address that served before, or a new one. Who fails on it leaves it to nobody."""
    session = _kept(address) or opened()
    try:
        yield session
    except BaseException:
        session.close()
        raise
    _give_back(address, session)


def _kept(address: Hashable) -> Session | None:
    shelf = _shelf(os.getpid())
    while (session := shelf.take(address)) is not None:
        if _lives(session):
            return session
        session.close()
    return None


def _give_back(address: Hashable, session: Session) -> None:
    """Keep it for the next who asks for the address; close it where nobody will, or a transaction is open."""
    session.stop = None
    if session.closed or session.info.transaction_status != TransactionStatus.IDLE:
        session.close()
        return
    session.isolation_level, session.read_only, session.autocommit = None, None, False
    if not _shelf(os.getpid()).put(address, session):
        session.close()


def _lives(session: Session) -> bool:
    """Whether the server still answers; where it has closed the session or is silent, a new one tells more."""
    try:
        ConnectionPool.check_connection(session)
    except (psycopg.Error, ConnectionError, Stopped):
        return False
    return True


Pool: TypeAlias = ConnectionPool[Session]


def pool(conninfo: str, prepare: Callable[[Session], None], connections: int) -> Pool:
    """Up to so many connections, opened when they are needed and closed when nobody has needed them for a while."""
    return ConnectionPool(
        conninfo,
        connection_class=Session,
        # A statement is a transaction of its own, which saves asking for its begin and its end.
        kwargs={"autocommit": True},
        min_size=0,
        max_size=connections,
        timeout=CONNECT_TIMEOUT_SECONDS,
        configure=prepare,
        # One that its server has closed is replaced before it is used.
        check=_check,
        num_workers=1,
        open=True,
    )


def _check(session: Session) -> None:
    """Ask the server whether the session holds, where anything has come on it: at rest only its end does.

    Asking each time would cost as much as the statement that follows.
    """
    at_rest = poll()
    at_rest.register(session.fileno(), POLLIN)
    if at_rest.poll(0):
        ConnectionPool.check_connection(session)


@contextmanager
def borrowed(kept: Pool | None) -> Iterator[Session | None]:
    """A connection of the pool; None when there is no pool, it is closed, or none is had in time."""
    try:
        connection = kept.getconn() if kept else None
    except (PoolClosed, PoolTimeout):
        # Why there is none is told by who opens one instead.
        connection = None
    try:
        yield connection
    finally:
        if kept and connection:
            kept.putconn(connection)
