"""A backfill of AI usage, in rows per second, beside what one would write without this project.

    python -m benchmarks.ai_usage                          2,000,000 events over 90 days
    python -m benchmarks.ai_usage --rows 200000 --days 30

All ways read the same rows of the same Postgres and write them to the same kind of tables, from this process. Ours and
ClickHouse's own take turns, and the median counts; what they wrote is compared. Batches are measured on a part and
compared by rate: they would take minutes for all.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil
from psycopg import conninfo
from rich.console import Console
from rich.table import Table

from analytics_pipeline.config import Settings
from analytics_pipeline.flows.ai_usage.daily import DailyUsage
from analytics_pipeline.flows.ai_usage.source import SOURCES
from analytics_pipeline.flows.daily_copy.copy import DayCopy
from analytics_pipeline.flows.daily_copy.source import DaySource
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.connection import connect
from analytics_pipeline.resources.clickhouse.names import quoted
from analytics_pipeline.resources.postgres import Postgres, postgres
from benchmarks.ai_batches import BATCH, PAGE, send
from benchmarks.ai_usage_desk import Load, fill
from benchmarks.ai_usage_reads import reads
from benchmarks.memory import peak_memory
from benchmarks.rows import print_rows
from benchmarks.stores import stores

ROUNDS = 3
PART_BATCHED = 100_000
# Targets: how much longer than ClickHouse's own, how much faster than batches, and how much memory.
LONGER, FASTER, MEMORY_MB = 1.2, 10.0, 100
console = Console()


@dataclass(frozen=True)
class Measured:
    """Rows per second of one way to do a stage."""

    stage: str
    way: str
    rows: int
    seconds: float

    @property
    def rate(self) -> float:
        return self.rows / self.seconds


def main() -> None:
    load = _arguments()
    with stores() as settings, connect(settings, Tag("benchmark", "run")) as warehouse:
        store = postgres(settings)
        with console.status(f"{load.rows:,} events into Postgres …"):
            fill(store, load)
        process = psutil.Process()
        before = process.memory_info().rss / 2**20
        with peak_memory(process) as peak:
            ours, own = _copies(settings, warehouse, load)
            figures = _measured("figures", "ai_usage_daily", load.rows, lambda: _figures(store, warehouse, load))
        read = list(reads(warehouse, store, load.first, load.last))
        batches = _batches(store, warehouse, load)
    print_rows(read, f"Reads of {load.days} days")
    _report(load, ours, own, batches, figures, peak.megabytes - before)


def _arguments() -> Load:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--days", type=int, default=90)
    given = parser.parse_args()
    return Load(given.rows, given.days)


def _copies(settings: Settings, warehouse: ClickHouse, load: Load) -> tuple[Measured, Measured]:
    """Ours and ClickHouse's own, in turns."""
    store = postgres(settings)
    ours, own = [], []
    for _ in range(ROUNDS):
        ours.append(_measured("copy", "ours", load.rows, lambda: _copy(store, warehouse, load)))
        for source in SOURCES:
            warehouse.execute(f"CREATE OR REPLACE TABLE {quoted(_other(source))} AS {quoted(source.table)}")
        own.append(
            _measured("copy", "INSERT … SELECT FROM postgresql()", load.rows, lambda: _pull(settings, warehouse))
        )
        for source in SOURCES:
            assert _contents(warehouse, source.table) == _contents(warehouse, _other(source))
    return _median(ours), _median(own)


def _copy(store: Postgres, warehouse: ClickHouse, load: Load) -> None:
    for source in SOURCES:
        states = DayCopy(source, store, warehouse, "benchmark").copy(load.first, load.last)
        assert sum(state.rows for state in states) == load.rows_of[source.name]


def _pull(settings: Settings, warehouse: ClickHouse) -> None:
    """ClickHouse reads Postgres itself. It has neither days nor a ledger, and a failure leaves a part."""
    assert settings.database_url
    where = conninfo.conninfo_to_dict(settings.database_url.get_secret_value())
    for source in SOURCES:
        columns = ", ".join(_PULLED[column] for column in source.columns)
        warehouse.execute(
            f"INSERT INTO {quoted(_other(source))} ({', '.join(source.columns)}) SELECT {columns}"
            " FROM postgresql({address:String}, {dbname:String}, {relation:String}, {user:String}, {password:String})"
            " SETTINGS max_partitions_per_insert_block = 0",
            address=f"{where['host']}:{where['port']}",
            relation=source.relation,
            dbname=where["dbname"],
            user=where["user"],
            password=where.get("password", ""),
        )


def _figures(store: Postgres, warehouse: ClickHouse, load: Load) -> None:
    rows = DailyUsage(warehouse, store, "benchmark").build(load.first, load.last)
    assert len(rows) == load.days


def _batches(store: Postgres, warehouse: ClickHouse, load: Load) -> Measured:
    """The same share of each source."""
    part = min(PART_BATCHED, load.rows)
    share = Load(part, load.days).rows_of
    for source in SOURCES:
        warehouse.execute(f"TRUNCATE TABLE {quoted(_other(source))}")

    def work() -> None:
        for source in SOURCES:
            send(store, warehouse, source, _other(source), share[source.name])

    return _measured("copy", f"{PAGE:,} rows a query, CSV of {BATCH:,} an insert", part, work)


def _other(source: DaySource) -> str:
    return f"other_{source.table}"


def _contents(warehouse: ClickHouse, table: str) -> list[tuple[object, ...]]:
    return warehouse.query(f"SELECT count(), sum(cityHash64(*)) FROM {quoted(table)}")


def _measured(stage: str, way: str, rows: int, work: Callable[[], None]) -> Measured:
    with console.status(f"{stage}: {way} …"):
        began = time.perf_counter()
        work()
        return Measured(stage, way, rows, time.perf_counter() - began)


def _median(rounds: list[Measured]) -> Measured:
    middle = statistics.median(one.seconds for one in rounds)
    return Measured(rounds[0].stage, rounds[0].way, rounds[0].rows, middle)


def _report(load: Load, ours: Measured, own: Measured, batches: Measured, figures: Measured, grown_mb: float) -> None:
    longer, faster = own.rate / ours.rate, ours.rate / batches.rate
    table = Table("stage", "way", title=f"{load.rows:,} AI events over {load.days} days", title_justify="left")
    for heading in ("rows", "seconds", "rows/s", "ours is"):
        table.add_column(heading, justify="right")
    table.add_column("target")
    _row(table, ours, "")
    _row(table, own, f"{longer:.2f}x as long", _target(f"at most {LONGER:g}x", is_met=longer <= LONGER))
    _row(table, batches, f"{faster:.1f}x as fast", _target(f"at least {FASTER:g}x", is_met=faster >= FASTER))
    _row(table, figures, "")
    console.print(table)
    target = _target(f"less than {MEMORY_MB} MB", is_met=grown_mb < MEMORY_MB)
    console.print(f"Copies and figures made this process grow by {grown_mb:,.0f} MB at most; {target}")


def _row(table: Table, one: Measured, ratio: str, target: str = "") -> None:
    table.add_row(one.stage, one.way, f"{one.rows:,}", f"{one.seconds:.2f}", f"{one.rate:,.0f}", ratio, target)


def _target(wanted: str, *, is_met: bool) -> str:
    return f"{wanted}: {'[green]met[/]' if is_met else '[red]not met[/]'}"


_PULLED = {
    "id": "id",
    "user_id": "user_id",
    "event": "event",
    "namespace_path": "concat(coalesce(nullIf(trim(TRAILING '/' FROM ifNull(namespace_path, '')), ''), '0'), '/')",
    "timestamp": "timestamp",
    "created_at": "created_at",
    "unique_tracking_id": "JSONExtractString(ifNull(payload, ''), 'unique_tracking_id')",
    "language": "JSONExtractString(ifNull(payload, ''), 'language')",
    "suggestion_size": "JSONExtractUInt(ifNull(payload, ''), 'suggestion_size')",
    "branch_name": "JSONExtractString(ifNull(payload, ''), 'branch_name')",
    "unreadable": "''",
}


if __name__ == "__main__":
    main()
