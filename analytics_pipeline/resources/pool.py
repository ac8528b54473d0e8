"""Kept connections to Postgres."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from analytics_pipeline.resources.sessions import CONNECT_TIMEOUT_SECONDS, Session

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
        check=ConnectionPool.check_connection,
        num_workers=1,
        open=True,
    )


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
