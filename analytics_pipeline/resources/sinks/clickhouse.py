"""The table `exported_events` of our own ClickHouse: each record once, however often it is sent."""

from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import zstandard
from clickhouse_connect.driver.exceptions import ClickHouseError

from analytics_pipeline.config import AccessRefused, NotConfigured, Settings
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.connection import connect
from analytics_pipeline.resources.clickhouse.errors import (
    MEMORY_LIMIT_EXCEEDED,
    MISSING_IN_SCHEMA,
    TIMEOUT_EXCEEDED,
    error_code,
    is_transient,
    trouble,
)
from analytics_pipeline.resources.sinks.base import Batch, Delivery, SinkRefused, SinkUnavailable
from analytics_pipeline.resources.sinks.parts import ContentRefused, around_refused, of_at_most
from analytics_pipeline.sink_addresses import SinkAddress

T = TypeVar("T")

TABLE = "exported_events"
COLUMNS = (
    "record_id",
    "event_log_id",
    "site_id",
    "deploy_type",
    "name",
    "url",
    "anonymous_user_id",
    "first_source_url",
    "last_source_url",
    "user_id",
    "source",
    "timestamp",
    "version",
    "feature_flags",
    "cohort_id",
    "referrer",
    "public_argument",
    "device_id",
    "insert_id",
)
ROWS_PER_STATEMENT = 1_000_000
_STATEMENT_SECONDS = 120
_LEVEL = 1
_SETTINGS = {
    "date_time_input_format": "best_effort",
    # A member without a column is a mistake of ours, to be seen rather than dropped.
    "input_format_skip_unknown_fields": 0,
    # A history has records of more days in one batch than the 100 that are allowed. All of them need not appear
    # together: who dies half-way sends all of them again.
    "max_partitions_per_insert_block": 0,
    # Only what is stored is acknowledged.
    "async_insert": 0,
    # The table drops repeats by itself. A replica that knows a block would drop one whose rows were since removed.
    "insert_deduplicate": 0,
}
# Codes for what cannot be read as a row of the table.
_UNREADABLE = frozenset({6, 26, 27, 33, 36, 38, 41, 43, 53, 69, 70, 72, 117, 130, 131, 349, 376, 441})


@dataclass(frozen=True)
class ClickHouseSink:
    """Records as rows. The connection is opened by the first batch or check."""

    name: str
    settings: Settings
    run_id: str | None = None
    _opened: ExitStack = field(default_factory=ExitStack)

    def check(self) -> None:
        allowed = self._asked(
            lambda: self._clickhouse.tagged("check").query(
                "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = {table:String}",
                table=TABLE,
            )
        )
        if missing := sorted({*COLUMNS} - {name for (name,) in allowed}):
            raise SinkRefused(f"{self._place} lacks {', '.join(missing[:3])}. Run: analytics-pipeline migrate pre")
        if not self._asked(lambda: self._clickhouse.tagged("check").scalar(f"CHECK GRANT INSERT ON {TABLE}")):
            raise SinkRefused(f"{self._place} cannot be written: grant INSERT on it to the user of CLICKHOUSE_URL")

    def send(self, batch: Batch) -> Delivery:
        parts = [around_refused(part, self._insert) for part in of_at_most(batch, ROWS_PER_STATEMENT)]
        return Delivery(sum(part.sent_bytes for part in parts), tuple(one for part in parts for one in part.refused))

    def close(self) -> None:
        self._opened.close()

    @cached_property
    def _clickhouse(self) -> ClickHouse:
        tag = Tag("usage_export", "send", run_id=self.run_id)
        # One attempt: the flow waits and sends again.
        return self._opened.enter_context(connect(self.settings, tag, 1, _STATEMENT_SECONDS))

    def _insert(self, batch: Batch) -> int:
        body = zstandard.compress(batch.lines, _LEVEL)
        self._asked(lambda: self._stored(batch, body))
        return len(body)

    def _stored(self, batch: Batch, body: bytes) -> None:
        def lines() -> Generator[bytes, None, None]:
            yield body

        with ExitStack() as stack:
            # What is no event is judged by a table of the same shape, which goes at once.
            table = stack.enter_context(self._clickhouse.staging(TABLE)) if batch.is_synthetic else TABLE
            self._clickhouse.insert_stream(
                table, COLUMNS, lines, fmt="JSONEachRow", compression="zstd", settings=_SETTINGS
            )

    def _asked(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except NotConfigured:
            raise SinkRefused(f"{self._place} is not there: CLICKHOUSE_URL is not set") from None
        except AccessRefused as error:
            raise SinkRefused(str(error)) from None
        except ConnectionError as error:
            raise SinkUnavailable(str(error)) from None
        except ClickHouseError as error:
            # Its text may quote a record.
            raise self._failure(error) from None

    def _failure(self, error: ClickHouseError) -> Exception:
        code = error_code(error)
        if code in _UNREADABLE:
            return ContentRefused(f"ClickHouse cannot read it as a row of {TABLE} (error {code})")
        if code in MISSING_IN_SCHEMA:
            return SinkRefused(f"{self._place} is not as it should be. Run: analytics-pipeline migrate pre")
        told = trouble(error) if code is None else f"ClickHouse error {code}"
        if is_transient(error) or code in (TIMEOUT_EXCEEDED, MEMORY_LIMIT_EXCEEDED):
            return SinkUnavailable(f"{self._place}: {told}")
        return SinkRefused(f"{self._place} cannot be written: {told}. Run: analytics-pipeline doctor")

    @property
    def _place(self) -> str:
        return f"The table {TABLE} of the sink {self.name}"


def open_clickhouse(address: SinkAddress, settings: Settings, run_id: str | None) -> ClickHouseSink:
    """The sink of our own database."""
    return ClickHouseSink(address.name, settings, run_id)
