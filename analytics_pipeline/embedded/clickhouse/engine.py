"""The one engine of the process: its pool of handles, and the way to stop a running query."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from analytics_pipeline.embedded.clickhouse.errors import (
    ABORTED,
    TOO_MANY_SIMULTANEOUS_QUERIES,
    clickhouse_error,
)
from analytics_pipeline.embedded.clickhouse.handle import TAG_SETTING, Block, Handle, quote

MAX_HANDLES = 32
_LEASE_SECONDS = 60


class ChdbEngine:
    """Opens chDB once and lends its handles.

    Handles are kept for ever: opening one costs 40 ms, and every one that closes leaves threads and files behind.
    """

    def __init__(self, data: Path, config: Path, settings: Mapping[str, str]) -> None:
        # The engine is 250 MB in memory: only the process that serves pays for it.
        connect = import_module("chdb.state").connect
        self._connect: Callable[[], Any] = lambda: connect(f"{data}?config-file={config}")
        self._settings = settings
        self._changed = threading.Condition()
        self._idle: list[Handle] = []
        self._opened = 0
        self._number = 0
        self._stopping = False
        # Stopping a query must not wait for a handle that the query occupies.
        self._control = Handle(0, self._connect(), settings)
        self._control_lock = threading.Lock()

    def take(self) -> Handle:
        """Lends a handle; waits for one when all of them work."""
        with self._changed:
            if not self._changed.wait_for(self._available, _LEASE_SECONDS):
                raise clickhouse_error(
                    TOO_MANY_SIMULTANEOUS_QUERIES,
                    f"All {MAX_HANDLES} handles were busy for {_LEASE_SECONDS} s. End some queries, or sessions with "
                    "temporary tables or SET",
                )
            if self._stopping:
                raise clickhouse_error(ABORTED, "The server is stopping")
            return self._idle.pop() if self._idle else self._open()

    def give_back(self, handle: Handle) -> None:
        """Takes a handle back as it is: the next request sets what it needs."""
        with self._changed:
            self._idle.append(handle)
            self._changed.notify()

    def give_back_scrubbed(self, handle: Handle) -> None:
        """Takes back a handle that a session changed; one that cannot be cleaned is replaced."""
        try:
            handle.scrub()
        except RuntimeError:
            handle.close()
            with self._changed:
                self._opened -= 1
                self._changed.notify()
        else:
            self.give_back(handle)

    @contextmanager
    def control(self) -> Iterator[Handle]:
        """Lends the handle that is kept free for KILL QUERY."""
        with self._control_lock:
            yield self._control

    def running_id(self, handle: Handle) -> str | None:
        """Returns the engine's own id of the query that the handle runs, if any."""
        sql = (
            f"SELECT query_id FROM system.processes WHERE Settings[{quote(TAG_SETTING)}] = {quote(handle.tag)} LIMIT 1"
        )
        return self._ask(sql).data.decode().strip() or None

    def kill(self, query_id: str) -> None:
        """Asks the engine to stop a query; its handle then raises QUERY_WAS_CANCELLED."""
        self._ask(f"KILL QUERY WHERE query_id = {quote(query_id)} ASYNC")

    def kill_all(self) -> None:
        """Stops every query and lends no handle from now on."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._ask(f"KILL QUERY WHERE Settings[{quote(TAG_SETTING)}] != {quote(self._control.tag)} ASYNC")

    def text(self, sql: str) -> str:
        """Returns the answer to a question of the server's own."""
        return self._ask(sql).data.decode().strip()

    def close(self) -> None:
        """Closes every handle that came back."""
        for handle in (*self._idle, self._control):
            handle.close()

    def _ask(self, sql: str) -> Block:
        with self.control() as handle:
            handle.prepare(None, {})
            return handle.query(sql.encode(), "TabSeparated", {})

    def _available(self) -> bool:
        return self._stopping or bool(self._idle) or self._opened < MAX_HANDLES

    def _open(self) -> Handle:
        handle = Handle(self._number + 1, self._connect(), self._settings)
        self._number += 1
        self._opened += 1
        return handle
