"""ClickHouse as the flows use it: tagged statements with bound parameters, retries, cost, staging, partition swaps."""

import secrets
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any, Literal, TypeVar

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from clickhouse_connect.driver.query import QueryResult

from analytics_pipeline.errors import Broken
from analytics_pipeline.resources.clickhouse.accounting import Cost, Tag, summary_of
from analytics_pipeline.resources.clickhouse.errors import TIMEOUT_EXCEEDED, error_code, is_worth_repeating, retrying
from analytics_pipeline.resources.clickhouse.names import partition_literal, quoted
from analytics_pipeline.resources.clickhouse.room import Limits
from analytics_pipeline.resources.deadline import Deadline
from analytics_pipeline.resources.patience import Patience

T = TypeVar("T")

STAGING_PREFIX = "staging_"
STAGING_LIFETIME_HOURS = 24
# Partitions swapped by one statement: several are much faster than one by one.
SWAPS_PER_STATEMENT = 50
_STAGING_TIME = "%Y%m%d%H%M%S"

# The text of a value must survive as it is: a date inferred from a string would change what it equals.
TEXT_STAYS_TEXT = {"input_format_try_infer_dates": 0, "input_format_try_infer_datetimes": 0}


class LostRows(Broken):
    """Rows that were staged would not be swapped; nothing was changed."""


@dataclass(frozen=True)
class ClickHouse:
    """Statements under one tag. Safe to share between threads: it holds no session.

    Every write must be safe to repeat, because transient failures are retried up to `attempts` times. With a
    `deadline` the server itself stops a statement when it has passed, and no further one begins. `patience` is for one
    answer, however it trickles in. `limits` are what `flows/guards.py` asks for. `extra_settings` go with every
    statement, e.g. the limits of a service.
    """

    client: Client
    tag: Tag
    cluster: str | None
    attempts: int
    timeout_seconds: int
    patience: Patience
    cost: Cost = field(default_factory=Cost)
    deadline: Deadline | None = None
    limits: Limits = field(default_factory=Limits)
    extra_settings: Mapping[str, Any] = field(default_factory=dict)

    def limited(self, deadline: Deadline | None) -> "ClickHouse":
        """The same connection and cost, for work that ends with the deadline."""
        return replace(self, deadline=deadline)

    def tagged(self, step: str, *, organisation_id: int | None = None, project_id: int | None = None) -> "ClickHouse":
        """The same connection and cost under another tag."""
        tag = replace(self.tag, step=step, organisation_id=organisation_id, project_id=project_id)
        return replace(self, tag=tag)

    @property
    def on_cluster(self) -> str:
        return f" ON CLUSTER {quoted(self.cluster)}" if self.cluster else ""

    def query(self, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """All rows of a SELECT; `{name:Type}` in the text takes the parameter of that name."""
        return [tuple(row) for row in self._result(sql, parameters).result_rows]

    def query_named(self, sql: str, **parameters: Any) -> list[dict[str, Any]]:
        """The same with each row as a dictionary by column name."""
        return list(self._result(sql, parameters).named_results())

    def _result(self, sql: str, parameters: Mapping[str, Any]) -> QueryResult:
        def run() -> QueryResult:
            result = self.client.query(
                sql, parameters=dict(parameters), settings=self.statement_settings(wait_end_of_query=1)
            )
            self.cost.add(result.summary)
            return result

        return self._retried(run)

    def scalar(self, sql: str, **parameters: Any) -> Any:
        """The single value of a SELECT that returns one row of one column."""
        ((value,),) = self.query(sql, **parameters)
        return value

    def execute(self, sql: str, **parameters: Any) -> None:
        """A statement without a result, such as DDL or INSERT … SELECT."""

        def run() -> None:
            settings = self.statement_settings(wait_end_of_query=1)
            # A command of the client would send its parameters in the URL, whose length servers and proxies limit.
            answer: Any = self.client.raw_stream(sql, parameters=parameters, settings=settings)
            with closing(answer):
                answer.read()
                self.cost.add(summary_of(answer))

        self._retried(run)

    def insert_rows(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """A few rows as one block, so that they appear together or not at all."""
        if not rows:
            return

        def run() -> None:
            summary = self.client.insert(
                table, rows, column_names=columns, settings=self.statement_settings(**TEXT_STAYS_TEXT)
            )
            self.cost.add(summary.summary)

        self._retried(run)

    def insert_stream(
        self,
        table: str,
        columns: Sequence[str],
        open_body: Callable[[], Generator[bytes, None, None]],
        *,
        fmt: str,
        compression: Literal["zstd", "gzip", "lz4"] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """Stream a body of at most about a million rows; `open_body` starts it again for each attempt."""

        def run() -> None:
            summary = self.client.raw_insert(
                quoted(table),
                column_names=list(columns),
                insert_block=self._in_time(open_body()),
                fmt=fmt,
                compression=compression,
                settings=self.statement_settings(**TEXT_STAYS_TEXT, **(settings or {})),
            )
            self.cost.add(summary.summary)

        self._retried(run)

    @contextmanager
    def staging(self, table: str) -> Iterator[str]:
        """An empty table shaped like `table`, dropped at the end. Its name tells its age, for `sweep_staging`."""
        name = f"{STAGING_PREFIX}{table}_{datetime.now(timezone.utc):{_STAGING_TIME}}_{secrets.token_hex(4)}"
        # The name is nobody else's: a table that exists is this statement's own first attempt, whose answer was lost.
        self.execute(f"CREATE TABLE IF NOT EXISTS {quoted(name)}{self.on_cluster} AS {quoted(table)}")
        try:
            yield name
        finally:
            # Cleaning up is not what the time was for.
            self.limited(None).execute(f"DROP TABLE IF EXISTS {quoted(name)}{self.on_cluster} SYNC")

    def sweep_staging(self) -> list[str]:
        """Drop staging tables that a killed run left behind more than a day ago; returns their names."""
        oldest_kept = datetime.now(timezone.utc) - timedelta(hours=STAGING_LIFETIME_HOURS)
        leftovers = self.query(
            "SELECT name FROM system.tables WHERE database = currentDatabase() AND match(name, {pattern:String})"
            " AND extract(name, {pattern:String}) < {oldest_kept:String} ORDER BY name",
            pattern=f"^{STAGING_PREFIX}.+_([0-9]{{14}})_[0-9a-f]{{8}}$",
            oldest_kept=f"{oldest_kept:{_STAGING_TIME}}",
        )
        for (name,) in leftovers:
            self.execute(f"DROP TABLE IF EXISTS {quoted(name)}{self.on_cluster} SYNC")
        return [name for (name,) in leftovers]

    def partitions(self, table: str) -> list[str]:
        """The ids of the partitions that hold rows, sorted."""
        rows = self.query(
            "SELECT DISTINCT partition_id FROM system.parts"
            " WHERE database = currentDatabase() AND table = {table:String} AND active ORDER BY partition_id",
            table=table,
        )
        return [partition for (partition,) in rows]

    def replace_partitions(
        self, table: str, staging: str, partitions: Sequence[str], *, left_out: Collection[str] = ()
    ) -> None:
        """Swap partitions of `table` for the staging table's, each atomically; no rows there means none here.

        `left_out` are partitions of the staging table that are not wanted any more.

        Raises:
            LostRows: the staging table holds a partition that would be left behind; nothing was swapped.
        """
        swaps = {one: f"REPLACE PARTITION ID {partition_literal(one)} FROM {quoted(staging)}" for one in partitions}
        staged = self.partitions(staging)
        if behind := sorted({*staged} - {*partitions, *left_out}):
            raise LostRows(
                f"{staging} holds rows of the partitions {', '.join(behind[:5])}, which would not be swapped into"
                f" {table}; it stays as it was. The table is partitioned otherwise than this version expects: run"
                " analytics-pipeline migrate status"
            )
        # A swap of nothing for nothing would cost as much as any other.
        held = {*staged, *self.partitions(table)}
        changes = [swap for partition, swap in swaps.items() if partition in held]
        for start in range(0, len(changes), SWAPS_PER_STATEMENT):
            # Refused by default when the source is empty; an empty day is an answer like any other.
            self._alter(table, ", ".join(changes[start : start + SWAPS_PER_STATEMENT]), empty_source_allowed=1)

    def attach_partition(self, table: str, staging: str, partition: str) -> None:
        """Add the staging table's rows of one partition to `table`: all of them appear at once."""
        self._alter(table, f"ATTACH PARTITION ID {partition_literal(partition)} FROM {quoted(staging)}")

    def move_partitions(self, table: str, staging: str) -> None:
        """Add all rows of the staging table to `table` and empty it; repeated, there is nothing left to add."""
        for partition in self.partitions(staging):
            self._alter(staging, f"MOVE PARTITION ID {partition_literal(partition)} TO TABLE {quoted(table)}")

    def _alter(self, table: str, change: str, *, empty_source_allowed: int = 0) -> None:
        settings = {"alter_sync": 2} if self.cluster else {}
        if empty_source_allowed:
            settings["allow_replace_partition_from_empty_source"] = 1
        clause = f" SETTINGS {', '.join(f'{name} = {value}' for name, value in settings.items())}" if settings else ""
        self.execute(f"ALTER TABLE {quoted(table)} {change}{clause}")

    def statement_settings(self, **settings: Any) -> dict[str, Any]:
        """Settings of one attempt at a statement: its tag, and what is left of the time when it begins.

        Raises:
            TimeLimitReached: nothing is left.
        """
        if self.deadline:
            self.deadline.check()
            settings["max_execution_time"] = min(self.deadline.whole_seconds, self.timeout_seconds)
        return {"log_comment": str(self.tag), **self.extra_settings, **settings}

    def _in_time(self, body: Generator[bytes, None, None]) -> Generator[bytes, None, None]:
        for chunk in body:
            if self.deadline:
                self.deadline.check()
            yield chunk

    def _retried(self, run: Callable[[], T]) -> T:
        try:
            answer: T = retrying(self.attempts, is_worth_repeating)(self.patience.wait_for, run)
        except ClickHouseError as error:
            # Whatever the server calls it, a statement that ends after the deadline was stopped by it.
            if self.deadline and error_code(error) == TIMEOUT_EXCEEDED:
                self.deadline.check()
            raise
        return answer
