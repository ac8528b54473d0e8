"""HTTP sessions. Clients open one each by default and hardly ever use it: only a session with state owns a handle."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from analytics_pipeline.embedded.clickhouse.engine import ChdbEngine
from analytics_pipeline.embedded.clickhouse.errors import (
    INVALID_SESSION_TIMEOUT,
    SESSION_IS_LOCKED,
    SESSION_NOT_FOUND,
    clickhouse_error,
)
from analytics_pipeline.embedded.clickhouse.handle import Handle

DEFAULT_TIMEOUT_SECONDS = 60
MAX_TIMEOUT_SECONDS = 3600


@dataclass(frozen=True)
class SessionKey:
    """The session that a request names."""

    id: str
    timeout: str = str(DEFAULT_TIMEOUT_SECONDS)
    must_exist: bool = False

    def seconds(self) -> int:
        """Returns the checked timeout."""
        if not self.timeout.isdecimal() or int(self.timeout) > MAX_TIMEOUT_SECONDS:
            raise clickhouse_error(
                INVALID_SESSION_TIMEOUT,
                f"Session timeout {self.timeout!r} is not a number of seconds up to {MAX_TIMEOUT_SECONDS}",
            )
        return int(self.timeout)


@dataclass
class Lease:
    """The handle of one request, and whether a statement left something on it."""

    handle: Handle
    in_session: bool
    stateful: bool = False


@dataclass
class _Session:
    handle: Handle | None = None
    busy: bool = True
    expires: float = 0.0


class Sessions:
    """Lends each request its session's handle, or any handle when the session has no state."""

    def __init__(self, engine: ChdbEngine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._sessions: dict[str, _Session] = {}

    @contextmanager
    def lease(self, key: SessionKey | None) -> Iterator[Lease]:
        """Lends a handle for one request."""
        self._end_expired()
        if key is None:
            with self._without_session() as lease:
                yield lease
            return
        seconds = key.seconds()
        session = self._enter(key)
        try:
            with self._within(session) as lease:
                yield lease
        finally:
            session.expires = time.monotonic() + seconds
            session.busy = False

    @contextmanager
    def _without_session(self) -> Iterator[Lease]:
        lease = Lease(self._engine.take(), in_session=False)
        try:
            yield lease
        finally:
            give_back = self._engine.give_back_scrubbed if lease.stateful else self._engine.give_back
            give_back(lease.handle)

    @contextmanager
    def _within(self, session: _Session) -> Iterator[Lease]:
        lease = Lease(session.handle or self._engine.take(), in_session=True)
        try:
            yield lease
        finally:
            if lease.stateful:
                session.handle = lease.handle
            elif session.handle is None:
                self._engine.give_back(lease.handle)

    def _enter(self, key: SessionKey) -> _Session:
        with self._lock:
            session = self._sessions.get(key.id)
            if session is None:
                if key.must_exist:
                    raise clickhouse_error(SESSION_NOT_FOUND, f"Session {key.id} not found: it expired or never began")
                session = self._sessions[key.id] = _Session()
            elif session.busy:
                raise clickhouse_error(
                    SESSION_IS_LOCKED, f"Session {key.id} is locked by a concurrent client: use a session per client"
                )
            session.busy = True
            return session

    def _end_expired(self) -> None:
        now = time.monotonic()
        with self._lock:
            over = [name for name, session in self._sessions.items() if not session.busy and session.expires < now]
            handles = [self._sessions.pop(name).handle for name in over]
        for handle in filter(None, handles):
            self._engine.give_back_scrubbed(handle)
