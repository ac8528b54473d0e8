"""Identities per second through capture, load and count, beside what one would write without this project.

    python -m benchmarks.identities            200,000 identities x 8 traits x 50 segments; counting also at 2,000,000
    python -m benchmarks.identities --identities 20000 --counting-identities 0

Both sides run in this process, one after the other, on the same engines. The alternatives work on a part of the
identities and are compared by rate: they would take many minutes for all. Reading takes turns with boto3's resource,
and counting with a pass that is written by hand: both get their share of a busy machine. The median counts.
"""

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone

import boto3
import psutil
from botocore.config import Config
from rich.console import Console
from rich.table import Table

from analytics_pipeline.config import Settings
from analytics_pipeline.flows.identities.capture import IdentityCapture
from analytics_pipeline.flows.identities.ledger import IdentityLedger
from analytics_pipeline.flows.identities.load import SnapshotLoad
from analytics_pipeline.flows.identities.reader import QueryReader
from analytics_pipeline.flows.segments.counting import count_segments
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.connection import connect
from analytics_pipeline.resources.dynamodb import IdentitiesTable
from analytics_pipeline.resources.landing import landing_zone
from analytics_pipeline.resources.postgres import postgres
from benchmarks.canned_dynamodb import canned_dynamodb
from benchmarks.handwritten import count_by_hand
from benchmarks.identities_elsewhere import ENVIRONMENT_LIST, count_singly, evaluate, insert_rows, read_by_resource
from benchmarks.memory import peak_memory
from benchmarks.stores import stores
from benchmarks.workload import ENVIRONMENTS, segments

ROUNDS = 3
RESOURCE, SINGLY, FIRST = "boto3 resource, flatten, json", "one query per segment and environment", "the first of each"
# Targets: how much faster than an alternative, in how many seconds two million are counted, and in how much memory.
FASTER = {RESOURCE: 20, SINGLY: 5, FIRST: 10}
BY_HAND, LONGER = "one pass written by hand", 1.2
MANY, SECONDS, MEMORY_MB = 2_000_000, 4, 1_024
console = Console(width=140)


@dataclass(frozen=True)
class Measured:
    """Identities per second of one way to do a stage, and the largest that this process was meanwhile."""

    stage: str
    way: str
    identities: int
    seconds: float
    megabytes: float = 0.0

    @property
    def rate(self) -> float:
        return self.identities / self.seconds


def main() -> None:
    given = _arguments()
    total: int = given.identities // ENVIRONMENTS * ENVIRONMENTS
    today = datetime.now(timezone.utc).date()
    with (
        stores() as settings,
        canned_dynamodb(total) as endpoint,
        connect(settings, Tag("benchmark", "run")) as warehouse,
    ):
        ours, by_resource = _ours(settings, warehouse, endpoint, today, total)
        theirs = [by_resource, *_alternatives(warehouse, today, total)]
        copies = given.counting_identities // total
        many = _counted_many(warehouse, today, total, copies) if copies else []
    _report(ours, theirs, many)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--identities", type=int, default=200_000, help="how many to work on (default: %(default)s)")
    parser.add_argument(
        "--counting-identities",
        type=int,
        default=MANY,
        help="how many to count in a second snapshot, made of copies of the first; 0: none (default: %(default)s)",
    )
    return parser.parse_args()


def _ours(
    settings: Settings, warehouse: ClickHouse, endpoint: str, day: date, total: int
) -> tuple[list[Measured], Measured]:
    """Our stages, and boto3's resource, which reads in turns with ours."""
    store, zone = postgres(settings), landing_zone(settings)
    capture = IdentityCapture(QueryReader(_table(endpoint)), zone, store, "benchmark", 4)
    load = SnapshotLoad(warehouse, zone, IdentityLedger(store, day, "benchmark"), day)

    def captured() -> int:
        captures, failures = capture.capture(day, ENVIRONMENT_LIST)
        assert failures == []
        return sum(one.manifest.rows for one in captures)

    def loaded() -> int:
        result = load.load(ENVIRONMENT_LIST)
        assert result.failures == []
        return sum(one.rows for one in result.loaded)

    reading, by_resource = _in_turns(
        lambda: _measured("reading", "raw_identities", captured),
        lambda: _measured("reading", RESOURCE, lambda: read_by_resource(endpoint)),
    )
    loading = _measured("loading", "identity_snapshots", loaded)
    counting = _measured("counting", "segment_counts, one pass", lambda: _count(warehouse, day, total))
    return [reading, loading, counting], by_resource


def _in_turns(ours: Callable[[], Measured], theirs: Callable[[], Measured]) -> list[Measured]:
    """The median round of each."""
    rounds = [(ours(), theirs()) for _ in range(ROUNDS)]
    return [sorted(ones, key=lambda one: one.seconds)[ROUNDS // 2] for ones in zip(*rounds, strict=True)]


def _count(warehouse: ClickHouse, day: date, identities: int) -> int:
    counts = count_segments(warehouse, day, segments(), ENVIRONMENT_LIST)
    assert {count.status for count in counts} == {"counted"}
    return identities


def _counted_many(warehouse: ClickHouse, day: date, total: int, copies: int) -> list[Measured]:
    """Yesterday's snapshot becomes today's with each identity several times, under names of their own."""
    with console.status("copying identities …"):
        warehouse.execute(
            "INSERT INTO identities"
            " (snapshot_date, project_id, environment_id, identifier, identity_key, traits, traits_format, inserted_at)"
            " SELECT snapshot_date - 1, project_id, environment_id, concat(identifier, '-', toString(copy)),"
            " concat(identity_key, '-', toString(copy)), traits, traits_format, inserted_at"
            " FROM identities FINAL ARRAY JOIN range({copies:UInt32}) AS copy WHERE snapshot_date = {day:Date}",
            copies=copies,
            day=day,
        )
    yesterday, identities = day - timedelta(days=1), total * copies
    counts = count_segments(warehouse, yesterday, segments(), ENVIRONMENT_LIST)
    by_hand = count_by_hand(warehouse, yesterday)
    assert {(count.environment.key, count.segment_id): count.count for count in counts} == by_hand
    return _in_turns(
        lambda: _measured("counting", "segment_counts, one pass", lambda: _count(warehouse, yesterday, identities)),
        lambda: _measured("counting", BY_HAND, lambda: identities if count_by_hand(warehouse, yesterday) else 0),
    )


def _alternatives(warehouse: ClickHouse, day: date, total: int) -> list[Measured]:
    warehouse.execute("CREATE TABLE alternative AS identities")
    return [
        _measured("loading", "client.insert, 1,000 rows each", lambda: insert_rows(warehouse, day)),
        _measured("counting", SINGLY, lambda: count_singly(warehouse, day, total)),
        _measured("counting", "flag_engine in Python", evaluate),
    ]


def _measured(stage: str, way: str, work: Callable[[], int]) -> Measured:
    """`work` tells how many identities it has done."""
    with console.status(f"{stage}: {way} …"), peak_memory(psutil.Process()) as peak:
        began = time.perf_counter()
        identities = work()
        seconds = time.perf_counter() - began
    return Measured(stage, way, identities, seconds, peak.megabytes)


def _report(ours: list[Measured], theirs: list[Measured], many: list[Measured]) -> None:
    title = f"{ours[0].identities:,} identities x 8 traits x 50 segments"
    table = Table("stage", "way", title=title, title_justify="left")
    for heading in ("identities", "seconds", "identities/s", "peak MB", "ours is faster by"):
        table.add_column(heading, justify="right")
    table.add_column("target")
    others = [*theirs, _end_to_end(FIRST, theirs[:3])]
    for one in [*ours, _end_to_end("ours", ours)]:
        memory = _verdict(f"less than {MEMORY_MB:,} MB", is_met=one.megabytes < MEMORY_MB)
        _row(table, one, f"{one.megabytes:,.0f}", "", memory)
        for other in others:
            if other.stage == one.stage:
                _row(table, other, "", *_compared(one.rate / other.rate, FASTER.get(other.way)))
    if many:
        one, by_hand = many
        in_time = _verdict(f"less than {SECONDS} s", is_met=one.seconds < SECONDS) if one.identities >= MANY else ""
        _row(table, one, f"{one.megabytes:,.0f}", "", in_time)
        ratio = one.seconds / by_hand.seconds
        wanted = _verdict(f"at most {LONGER:g}x as long", is_met=ratio <= LONGER)
        _row(table, by_hand, "", f"{1 / ratio:.2f}x", wanted)
    console.print(table)
    console.print(f"Load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; others' work counts, too.")


def _end_to_end(way: str, stages: list[Measured]) -> Measured:
    """One after the other, for as many identities as the first."""
    identities = stages[0].identities
    seconds = sum(identities / one.rate for one in stages)
    return Measured("end to end", way, identities, seconds, max(one.megabytes for one in stages))


def _compared(ratio: float, least: int | None) -> tuple[str, str]:
    return f"{ratio:.1f}x", _verdict(f"at least {least}x", is_met=ratio >= least) if least else ""


def _verdict(wanted: str, *, is_met: bool) -> str:
    return f"{wanted}: {'[green]met[/]' if is_met else '[red]not met[/]'}"


def _row(table: Table, one: Measured, memory: str, ratio: str, target: str) -> None:
    figures = (f"{one.identities:,}", f"{one.seconds:.2f}", f"{one.rate:,.0f}")
    table.add_row(one.stage, one.way, *figures, memory, ratio, target)


def _table(endpoint: str) -> IdentitiesTable:
    client = boto3.client("dynamodb", endpoint_url=endpoint, config=Config(retries={"mode": "adaptive"}))
    return IdentitiesTable(client, "t", "environment_api_key-identifier-index")


if __name__ == "__main__":
    main()
