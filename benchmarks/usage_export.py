"""A backlog of the usage export, in events per second, beside a loop that reads, serialises and sends.

    python -m benchmarks.usage_export                                     1,000,000 events
    python -m benchmarks.usage_export --rows 50000 --part 10000 --batches 1000

Both read the same rows of the same Postgres, of which a quarter may not leave, and send to the same ClickHouse, to
compressed files and to a web server on this machine. The loop does a part, and rates are compared. Memory is that of
this process above what it needs at rest, processor time that of all: of this process, Postgres and ClickHouse.
"""

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from analytics_pipeline.config import Settings
from analytics_pipeline.flows.usage_export import allow_list
from analytics_pipeline.flows.usage_export.export import export
from analytics_pipeline.flows.usage_export.ledger import create
from analytics_pipeline.flows.usage_export.line import Run
from analytics_pipeline.flows.usage_export.records import Instance
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.clickhouse.connection import connect
from analytics_pipeline.resources.deadline import Deadline
from analytics_pipeline.resources.postgres import Postgres, postgres
from analytics_pipeline.resources.sinks.registry import open_sink
from analytics_pipeline.sink_addresses import SinkAddress
from benchmarks.export_loop import Send, loop, to_clickhouse, to_file, to_http
from benchmarks.memory import peak_memory, processor_seconds
from benchmarks.stores import stores

NAMES, KEYS = ("SearchResultsQueried", "ViewRepository", "CodyChat"), ("query_type", "count")
console = Console(width=140)


@dataclass(frozen=True)
class Load:
    """So many events in the log; the loop sends `part` of them."""

    rows: int
    part: int
    batches: tuple[int, ...]


@dataclass(frozen=True)
class Cost:
    """Of an event: seconds that passed, and seconds of processors."""

    seconds: float
    processor: float


@dataclass(frozen=True)
class Measured:
    """Both ways into a sink, and megabytes that ours needed."""

    sink: str
    batch: int
    ours: Cost
    plain: Cost
    megabytes: float


def main() -> None:
    load = _arguments()
    with stores() as settings, tempfile.TemporaryDirectory() as directory, _receiver() as url:
        store = postgres(settings)
        with console.status(f"{load.rows:,} events into Postgres …"):
            fill(store, load.rows)
        addresses = _addresses(Path(directory), url)
        found = [
            _measured(settings, store, load, addresses, sink, batch) for sink in addresses for batch in load.batches
        ]
    _report(load, found)


def _arguments() -> Load:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--part", type=int, default=50_000)
    parser.add_argument("--batches", type=int, nargs="+", default=[100, 1_000, 10_000])
    given = parser.parse_args()
    return Load(given.rows, min(given.part, given.rows * 3 // 4), tuple(given.batches))


def fill(store: Postgres, rows: int) -> None:
    """So many events into the log, a quarter of which may not leave; what was allowed before stays so."""
    allow_list.add(store, NAMES)
    for name in NAMES:
        allow_list.allow_keys(store, name, KEYS)
    with store.open(autocommit=True, statement_seconds=600) as connection:
        connection.execute(_FILL, {"names": [*NAMES, "Forbidden"], "rows": rows})
        connection.execute("VACUUM ANALYZE event_logs")


def _addresses(directory: Path, url: str) -> Mapping[str, SinkAddress]:
    urls = {"clickhouse": "clickhouse:", "file": (directory / "ours").as_uri(), "http": url}
    return {name: SinkAddress(name, SecretStr(one), SecretStr("a key for the test" * 2)) for name, one in urls.items()}


def _measured(
    settings: Settings, store: Postgres, load: Load, addresses: Mapping[str, SinkAddress], sink: str, batch: int
) -> Measured:
    name = f"{sink}_{batch}"
    address = replace(addresses[sink], name=name)
    with store.ledgers.connect() as connection:
        create(connection, name, 0, "{}", "1")
    allowed = allow_list.allow_list(store)
    run = Run(store, allowed, Instance("benchmark", ""), batch, Deadline.after(3_600, ""), "benchmark")
    process = psutil.Process()
    before = process.memory_info().rss / 2**20
    with console.status(f"{name}: ours …"), peak_memory(process) as peak:
        began = _now()
        (served,) = export(run, [name], lambda _: open_sink(address, settings))
        ours = _cost(began, served.records)
    assert (served.status, served.error) == ("served", ""), served
    plain = _loop(settings, store, load, address, batch)
    return Measured(sink, batch, ours, plain, peak.megabytes - before)


def _loop(settings: Settings, store: Postgres, load: Load, address: SinkAddress, batch: int) -> Cost:
    with (
        console.status(f"{address.name}: the loop …"),
        tempfile.TemporaryDirectory() as directory,
        connect(settings, Tag("benchmark", "loop")) as warehouse,
    ):
        ways: dict[str, Callable[[], Send]] = {
            "clickhouse": lambda: to_clickhouse(warehouse, "exported_events"),
            "file": lambda: to_file(Path(directory)),
            "http": lambda: to_http(address.url.get_secret_value()),
        }
        send = ways[address.parts.scheme]()
        began = _now()
        sent = loop(store, [*NAMES], {*KEYS}, batch, load.part, send)
        return _cost(began, sent)


def _now() -> Cost:
    return Cost(time.perf_counter(), processor_seconds())


def _cost(began: Cost, events: int) -> Cost:
    now = _now()
    return Cost((now.seconds - began.seconds) / events, (now.processor - began.processor) / events)


class _Takes(BaseHTTPRequestHandler):
    """Takes whatever comes."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing is told."""


@contextmanager
def _receiver() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Takes)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/events"
    finally:
        server.shutdown()


def _report(load: Load, found: list[Measured]) -> None:
    table = Table(title=f"{load.rows:,} events, of which three of four leave", title_justify="left")
    for column in ("sink", "batch", "ours", "the loop", "ratio", "processors", "the loop", "ratio", "memory"):
        table.add_column(column, justify="right")
    for one in found:
        ours, plain = one.ours, one.plain
        rates = [f"{1 / ours.seconds:,.0f} /s", f"{1 / plain.seconds:,.0f} /s", f"{plain.seconds / ours.seconds:.1f}x"]
        costs = [
            *(f"{way.processor * 1e6:.1f} µs" for way in (ours, plain)),
            f"{plain.processor / ours.processor:.1f}x",
        ]
        table.add_row(one.sink, f"{one.batch:,}", *rates, *costs, f"{one.megabytes:,.0f} MB")
    console.print(table)
    console.print(f"Load over the last 15 minutes: {os.getloadavg()[2]:.1f}, on {os.cpu_count()} processors")


_FILL = """
    INSERT INTO event_logs (
        name, user_id, source, version, argument, timestamp, feature_flags, public_argument, first_source_url, referrer,
        device_id, insert_id
    )
    SELECT (%(names)s::text[])[1 + mod(i, 4)], 1 + mod(i, 5000), 'WEB', '5.3.0', '{"private": true}',
        '2026-05-01'::timestamptz + i * interval '1 second', '{"flag-a": true, "flag-b": false}',
        jsonb_build_object('query_type', 'regexp', 'count', mod(i, 100), 'private', repeat('x', 40)),
        'https://example.com/search', 'https://example.com/', md5(mod(i, 5000)::text), md5(i::text)
    FROM generate_series(1, %(rows)s) AS i
"""


if __name__ == "__main__":
    main()
