"""How each flow's work grows: time, processor time and memory at one size, at ten and a hundred times it.

    python -m benchmarks.growth                   1,000, 10,000 and 100,000 records of each flow
    python -m benchmarks.growth --records 10000

Records are of one day. Processor time is that of our process and of the engines, which is what to compare on a machine
that others use as well; memory is what our process held above what it held before. docs/sizing.md rests on it.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any

import msgspec
import psutil
from pydantic import SecretStr
from rich.table import Table

from analytics_pipeline.config import Settings
from analytics_pipeline.flows.ai_usage.daily import DailyUsage
from analytics_pipeline.flows.ai_usage.source import DUO_CHAT_EVENTS
from analytics_pipeline.flows.daily_copy.copy import DayCopy
from analytics_pipeline.flows.days import day_start
from analytics_pipeline.flows.identities.capture import IdentityCapture
from analytics_pipeline.flows.identities.ledger import IdentityLedger
from analytics_pipeline.flows.identities.load import SnapshotLoad
from analytics_pipeline.flows.product_events.aggregates.build import Build
from analytics_pipeline.flows.product_events.aggregates.tables import AGGREGATES
from analytics_pipeline.flows.reporting.rollups import Rollups
from analytics_pipeline.flows.reporting.source import REPORTING_EVENTS
from analytics_pipeline.flows.segments.counting import count_segments
from analytics_pipeline.flows.tenants import Environment
from analytics_pipeline.flows.usage_export.allow_list import allow_list
from analytics_pipeline.flows.usage_export.export import export
from analytics_pipeline.flows.usage_export.ledger import create
from analytics_pipeline.flows.usage_export.line import Run
from analytics_pipeline.flows.usage_export.records import Instance
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.connection import connect
from analytics_pipeline.resources.deadline import Deadline
from analytics_pipeline.resources.landing import landing_zone
from analytics_pipeline.resources.postgres import Postgres, postgres
from analytics_pipeline.resources.sinks.registry import open_sink
from analytics_pipeline.sink_addresses import SinkAddress
from benchmarks.memory import peak_memory
from benchmarks.product_event_figures import fill as fill_product_events
from benchmarks.rows import console
from benchmarks.stores import stores, unhurried
from benchmarks.usage_export import fill as fill_event_logs
from benchmarks.workload import document, segments

RECORDS, FACTORS = 1_000, (1, 10, 100)
ENVIRONMENT = Environment(1, "environment-0", "Production", 1, 1)
_PAGE = 1_000


@dataclass(frozen=True)
class Measured:
    """One piece of work at one size; `processor` is seconds of all processes together."""

    work: str
    records: int
    seconds: float
    processor: float
    megabytes: float


@dataclass(frozen=True)
class Made:
    """A reader of so many identities, encoded as DynamoDB sends them."""

    pages_: list[list[msgspec.Raw]]

    def pages(self, environment_key: str) -> Iterator[list[msgspec.Raw]]:
        yield from self.pages_


@dataclass(frozen=True)
class Bench:
    """The flows on one set of stores; each size replaces the one before."""

    settings: Settings
    store: Postgres
    clickhouse: ClickHouse
    day: date

    def works(self, records: int) -> Mapping[str, Callable[[], Any]]:
        """The pieces of work, in an order in which each finds what it reads. Filling is not measured."""
        zone = landing_zone(self.settings)
        numbers = [range(first, min(first + _PAGE, records)) for first in range(0, records, _PAGE)]
        encoded = [[msgspec.Raw(msgspec.json.encode(document(n, ENVIRONMENT.key))) for n in page] for page in numbers]
        capture = IdentityCapture(Made(encoded), zone, self.store, "benchmark", 1)
        load = SnapshotLoad(self.clickhouse, zone, IdentityLedger(self.store, self.day, "benchmark"), self.day)
        reporting, chat = (DayCopy(one, self.store, self.clickhouse, "benchmark") for one in _SOURCES)
        return {
            "identities: capture, without DynamoDB": lambda: capture.capture(self.day, [ENVIRONMENT]),
            "identities: load": lambda: load.load([ENVIRONMENT]),
            "segments: 50 counted": lambda: count_segments(self.clickhouse, self.day, segments(), [ENVIRONMENT]),
            "reporting: copy": lambda: reporting.copy(self.day, self.day),
            "reporting: rollups of 200 accounts": self._rollups,
            "ai_usage: copy": lambda: chat.copy(self.day, self.day),
            "ai_usage: figures": self._usage,
            "product_events: ten tables of figures": lambda: self._figures(records),
            "usage_export: to files": lambda: self._export(records),
        }

    def fill(self, records: int) -> None:
        with unhurried(self.store) as connection:
            for statement in _EMPTY:
                connection.execute(statement)
            for statement in (_ACCOUNTS, _REPORTING, _CHAT):
                connection.execute(statement.encode(), {"records": records, "start": day_start(self.day)})
            connection.execute("ANALYZE")
        for table in ("identities", "analytics_events"):
            self.clickhouse.execute(f"TRUNCATE TABLE {table}")
        start = day_start(self.day)
        fill_product_events(self.clickhouse, range(records), start, start + timedelta(hours=23))
        fill_event_logs(self.store, records)

    def _rollups(self) -> None:
        Rollups(self.clickhouse, self.store, "benchmark").compute(self.day, self.day)

    def _usage(self) -> None:
        DailyUsage(self.clickhouse, self.store, "benchmark").build(self.day, self.day)

    def _figures(self, events: int) -> None:
        for one in AGGREGATES:
            build = Build(one, self.clickhouse, self.store, "benchmark", 90, even_if_fewer=True)
            assert build.build(self.day, self.day)[self.day].events == events

    def _export(self, events: int) -> None:
        """To a sink of its own, which begins before the first event; a quarter of the events may not leave."""
        url = SecretStr((self.settings.analytics_home.resolve() / "exported").as_uri())
        address = SinkAddress(f"files_{events}", url, None)
        with self.store.ledgers.connect() as connection:
            create(connection, address.name, 0, "{}", "1")
        deadline = Deadline.after(3_600, "")
        run = Run(self.store, allow_list(self.store), Instance("benchmark", ""), _PAGE, deadline, "benchmark")
        (served,) = export(run, [address.name], lambda _: open_sink(address, self.settings))
        assert (served.status, served.records) == ("served", events - events // 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=RECORDS, help="at the first size (default: %(default)s)")
    records = parser.parse_args().records
    yesterday = datetime.now(timezone.utc).date() - timedelta(days=1)
    with stores() as settings, connect(settings, Tag("benchmarks", "growth")) as clickhouse:
        bench = Bench(settings, postgres(settings), clickhouse, yesterday)
        found = [one for factor in FACTORS for one in _measured(bench, records * factor)]
    _show(found)


def _measured(bench: Bench, records: int) -> Iterator[Measured]:
    with console.status(f"{records:,} records …"):
        bench.fill(records)
        works = bench.works(records)
    for name, work in works.items():
        before = psutil.Process().memory_info().rss / (1 << 20)
        with console.status(f"{records:,} records: {name} …"), peak_memory(psutil.Process()) as peak:
            processor, began = _processor_seconds(), time.perf_counter()
            work()
            seconds = time.perf_counter() - began
            spent = _processor_seconds() - processor
        yield Measured(name, records, seconds, spent, peak.megabytes - before)


def _processor_seconds() -> float:
    """Seconds of this process and of the engines, those of their sessions that have ended included."""
    own = psutil.Process().cpu_times()
    engines = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
    spent = [one.user + one.system + one.children_user + one.children_system for one in engines]
    return float(own.user + own.system + sum(spent))


def _show(found: list[Measured]) -> None:
    table = Table("work", "records", "seconds", "processor seconds", "more memory, MB")
    for one in sorted(found, key=lambda measured: [one.work for one in found].index(measured.work)):
        table.add_row(
            one.work, f"{one.records:,}", f"{one.seconds:.2f}", f"{one.processor:.2f}", f"{one.megabytes:.0f}"
        )
    console.print(table)
    console.print(f"Load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; others' work counts, too.")


_SOURCES = (REPORTING_EVENTS, DUO_CHAT_EVENTS)
_EMPTY = (
    "TRUNCATE accounts, conversations, reporting_events, ai_duo_chat_events",
    "TRUNCATE event_logs RESTART IDENTITY",
    "TRUNCATE analytics_pipeline.identity_loads",
)
_ACCOUNTS = """
    INSERT INTO accounts (id, name, settings)
    SELECT id, 'Account', '{"reporting_timezone": "Europe/Berlin"}' FROM generate_series(1, 200) AS id
"""
_REPORTING = """
    INSERT INTO reporting_events (id, name, value, value_in_business_hours, account_id, inbox_id, user_id,
        conversation_id, event_start_time, event_end_time, created_at, updated_at)
    SELECT n, (ARRAY['first_response', 'reply_time', 'conversation_resolved'])[1 + n %% 3], n %% 5000, n %% 4000,
        1 + n %% 200, n %% 5, n %% 20, n %% 100000, moment, moment, moment, moment
    FROM (
        SELECT n, %(start)s::timestamptz + interval '1 day' * (n::float8 / %(records)s) AS moment
        FROM generate_series(0, %(records)s - 1) AS n
    ) AS made
"""
_CHAT = """
    INSERT INTO ai_duo_chat_events (timestamp, user_id, event, namespace_path)
    SELECT %(start)s::timestamptz + interval '1 day' * (n::float8 / %(records)s), n %% 20000, 1, '1/' || n %% 500 || '/'
    FROM generate_series(0, %(records)s - 1) AS n
"""


if __name__ == "__main__":
    main()
