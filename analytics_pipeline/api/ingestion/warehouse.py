"""ClickHouse as a worker writes to it: one connection, opened when it is first needed."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from threading import Lock
from types import TracebackType

import psycopg
from clickhouse_connect.driver.exceptions import ClickHouseError

from analytics_pipeline.api import tokens
from analytics_pipeline.config import NotConfigured, Settings
from analytics_pipeline.flows.product_events import ids
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.connection import connect
from analytics_pipeline.resources.postgres import Postgres


class Warehouse:
    """Opens ClickHouse when it is first asked for; one that does not answer is asked again by the next who needs it."""

    def __init__(self, settings: Settings, seconds: int) -> None:
        self._settings, self._seconds = settings, seconds
        self._opened = ExitStack()
        self._lock = Lock()
        self._clickhouse: ClickHouse | None = None

    def clickhouse(self) -> ClickHouse:
        """The connection.

        Raises:
            NotConfigured: `CLICKHOUSE_URL` is not set.
            ConnectionError: it does not answer, or refuses.
        """
        with self._lock:
            if self._clickhouse is None:
                # The sender repeats what fails, so nothing is repeated here.
                opened = connect(self._settings, Tag("product_events", "ingest"), 1, self._seconds)
                self._clickhouse = self._opened.enter_context(opened)
            return self._clickhouse

    def missing(self, store: Postgres) -> list[str]:
        """The stores that do not answer, or are not migrated."""
        asked: Mapping[str, Callable[[], bool]] = {
            "clickhouse": lambda: ids.is_ready(self.clickhouse()),
            "postgres": lambda: tokens.is_ready(store),
        }
        return [name for name, ask in asked.items() if not _answers(ask)]

    def __enter__(self) -> "Warehouse":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()


def _answers(ask: Callable[[], bool]) -> bool:
    try:
        return ask()
    except (psycopg.Error, ClickHouseError, ConnectionError, NotConfigured):
        return False
