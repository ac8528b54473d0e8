"""Settings of our sessions on a Postgres, how long they wait, and the error when there is none.

A role, a database or a server may set limits and formats for whoever connects. A session of ours depends on none of
them: it sets what it needs, and nothing that it waits for lasts longer than it was given.
"""

import re
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow

from analytics_pipeline.addresses import without_credentials
from analytics_pipeline.config import AccessRefused
from analytics_pipeline.errors import Passing

T = TypeVar("T")

APPLICATION_NAME = "analytics_pipeline"
# For each address of the host.
CONNECT_TIMEOUT_SECONDS = 10
# A relation that is being altered is left alone; the work is tried again.
LOCK_TIMEOUT_SECONDS = 5
# After the server should have stopped a statement itself, its answer has this long to arrive.
GRACE_SECONDS = 10.0

CONNECTION_OPTIONS: dict[str, str | int] = {
    "connect_timeout": CONNECT_TIMEOUT_SECONDS,
    "application_name": APPLICATION_NAME,
    "client_encoding": "UTF8",
    # A server that is gone without a word is noticed within a minute.
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
_SETTINGS = {
    # Days, and moments of columns that have no zone, would depend on the one; moments are read by the others.
    "timezone": "UTC",
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    # A backslash in a statement of ours is a backslash.
    "standard_conforming_strings": "on",
    "default_transaction_isolation": "read committed",
    # Many make it the default of a role that mostly reads. What we only read, we read in transactions that say so.
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
    "lock_timeout": f"{LOCK_TIMEOUT_SECONDS}s",
    # A copy's moment, a ledger's entry that follows a swap and a lease are held while nothing is asked.
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "transaction_timeout": "0",
    # Locks of a client that is gone are freed within a minute, also in the middle of a statement.
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "60s",
    "client_connection_check_interval": "1s",
}


def session_settings(statement_seconds: float) -> dict[str, str]:
    """Settings of one session of ours, with the longest time of one statement."""
    return {**_SETTINGS, "statement_timeout": f"{statement_seconds * 1000:.0f}ms"}


# Older servers do not know all of them.
APPLY_SETTINGS = """
    SELECT count(set_config(name, value, false)) FROM unnest({names}::text[], {values}::text[]) AS wanted (name, value)
    WHERE current_setting(name, true) IS NOT NULL
"""


class Stopped(Exception):
    """The work was ended by its caller; nothing more is read or changed."""


class ServerSilent(ConnectionError):
    """A server that took the connection does not answer on it any more."""


class MomentLost(Passing):
    """Postgres ended the session that held the moment which others were to read."""


# What Postgres answers to the name of a snapshot whose session has ended.
_NO_SUCH_SNAPSHOT = frozenset({"22023", "42704", "55000"})


def lost_moment(sqlstate: str | None) -> MomentLost | None:
    """The error that a refused snapshot means."""
    if sqlstate not in _NO_SUCH_SNAPSHOT:
        return None
    return MomentLost(
        "Postgres ended the session that held the moment to be read; nothing more was changed. Run it again"
    )


class Session(psycopg.Connection[TupleRow]):
    """A connection on which no wait lasts longer than it was given, and which ends when its work is stopped.

    `limit` is the longest wait in seconds; `place` is the server's address without credentials.
    """

    limit = CONNECT_TIMEOUT_SECONDS + GRACE_SECONDS
    place = ""
    stop: threading.Event | None = None

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **options: Any) -> T:
        """As psycopg waits for the server, for a limited time.

        Raises:
            ServerSilent: it has not answered in time.
            Stopped: the work was stopped.
        """
        try:
            return super().wait(self._bounded(gen), *args, **options)
        except (ServerSilent, Stopped):
            # The server notices within a second, and ends what it does for us.
            self.close()
            raise

    def _bounded(self, gen: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        ends = time.monotonic() + self.limit
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if self.stop is not None and self.stop.is_set():
                    raise Stopped("the work was stopped")
                if time.monotonic() > ends:
                    raise ServerSilent(
                        f"Postgres at {self.place}: the server has not answered for {self.limit:.0f} s."
                        " Nothing more was changed; run this again when it answers"
                    )
                wanted = gen.send(ready)
        except StopIteration as end:
            result: T = end.value
            return result


@contextmanager
def committed(session: Session) -> Iterator[None]:
    """One transaction: committed at the end. After an exception its locks are free when the caller hears of it."""
    try:
        yield
        session.commit()
    except BaseException:
        with suppress(psycopg.Error, ServerSilent, Stopped):
            session.rollback()
        raise


# As pg_locks shows a lock on a bigint.
IS_LEASED = """
    SELECT EXISTS (
        SELECT 1 FROM pg_locks
        WHERE locktype = 'advisory' AND objsubid = 1 AND granted
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND (classid::bigint << 32) | objid::bigint = hashtextextended(%(name)s, 0)
    )
"""


def taken(connection: Session, name: str, patience: timedelta) -> bool:
    """Whether the advisory lock was had; waiting for it is Postgres's own, so nobody polls."""
    if not patience:
        return connection.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [name]).fetchone() == (True,)
    connection.execute("SELECT set_config('lock_timeout', %s, false)", [f"{patience.total_seconds() * 1000:.0f}ms"])
    try:
        connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [name])
    except psycopg.errors.LockNotAvailable:
        return False
    return True


def freed(connection: Session, name: str) -> bool:
    """Free the lock; False where the session did not hold it any more, or has ended."""
    try:
        return connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [name]).fetchone() == (True,)
    except (psycopg.OperationalError, ServerSilent):
        return False


# The server's state or words (the client library's are English), what they mean, and whether they pass by themselves.
_REASONS = (
    ("53300", r"too many (clients|connections)|remaining connection slots", "it has no connection left for us", True),
    ("57P03", r"the database system is", "it is starting, stopping or recovering", True),
    ("28P01", r"password authentication failed|no password supplied", "the user or password is wrong", False),
    ("28000", r"pg_hba\.conf|authentication failed", "it does not let this user in from here", False),
    ("3D000", r"does not exist", "the database or user does not exist", False),
    ("42501", r"permission denied for database", "the user may not connect to the database", False),
    ("", r"invalid response|expected authentication request", "what answers there is not Postgres", False),
    ("", r"SSL|certificate", "TLS failed: compare sslmode and the certificates of both ends", False),
    ("", r"timeout expired|timed out", "the server does not answer in time", True),
    ("", r"closed the connection", "the server closed the connection at once", True),
)


def refusal(url: str, variable: str, text: str, sqlstate: str | None) -> ConnectionError:
    """The error of a connection that was not opened, for what `text` says; it shows no credentials."""
    reason, passes = _why(url, text, sqlstate)
    told = f"Postgres at {without_credentials(url)}: {reason}. Check {variable}, then run: analytics-pipeline doctor"
    return (ConnectionError if passes else AccessRefused)(told)


def _why(url: str, text: str, sqlstate: str | None) -> tuple[str, bool]:
    try:
        conninfo_to_dict(url)
    except psycopg.Error:
        return "the URL cannot be read", False
    for state, pattern, reason, passes in _REASONS:
        if (sqlstate and state == sqlstate) or re.search(pattern, text):
            return reason, passes
    return "the server does not answer", True
