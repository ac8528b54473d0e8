"""Identities per second through capture, load and count, beside what one would write without this project.

    python -m benchmarks.identities            200,000 identities x 8 traits x 50 segments
    python -m benchmarks.identities --identities 20000

Both sides run in this process, one after the other, on the same engines. The alternatives work on a part of the
identities and are compared by rate: they would take many minutes for all.
"""

import json
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timezone
from importlib.resources import files
from pathlib import Path
from typing import Any

import boto3
from boto3.dynamodb.conditions import Key
from botocore.config import Config
from flag_engine.segments.evaluator import is_context_in_segment
from rich.console import Console
from rich.table import Table

from analytics_pipeline.config import Settings
from analytics_pipeline.embedded.stack import Stack
from analytics_pipeline.flows.identities.capture import IdentityCapture
from analytics_pipeline.flows.identities.ledger import IdentityLedger
from analytics_pipeline.flows.identities.load import SnapshotLoad
from analytics_pipeline.flows.identities.reader import QueryReader
from analytics_pipeline.flows.segments.counting import count_segments
from analytics_pipeline.flows.tenants import Environment
from analytics_pipeline.migrations import migrate
from analytics_pipeline.resources.clickhouse import ClickHouse, Tag, connect
from analytics_pipeline.resources.dynamodb import IdentitiesTable
from analytics_pipeline.resources.landing import landing_zone
from analytics_pipeline.resources.postgres import postgres
from benchmarks.canned_dynamodb import arguments, canned_dynamodb
from benchmarks.workload import ENVIRONMENTS, environment_key, segments, traits

ENVIRONMENT_LIST = [Environment(n + 1, environment_key(n), f"Environment {n}", 1, 1) for n in range(ENVIRONMENTS)]
PART_READ = 20_000
PART_LOADED = 20_000
PART_EVALUATED = 1_000
console = Console()


@dataclass(frozen=True)
class Measured:
    """Identities per second of one way to do a stage."""

    stage: str
    way: str
    identities: int
    seconds: float

    @property
    def rate(self) -> float:
        return self.identities / self.seconds


def main() -> None:
    total = arguments(str(__doc__).splitlines()[0], 200_000).identities
    today = datetime.now(timezone.utc).date()
    with (
        _stores() as settings,
        canned_dynamodb(total) as endpoint,
        connect(settings, Tag("benchmark", "run")) as warehouse,
    ):
        ours = _ours(settings, warehouse, endpoint, today, total)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        theirs = _alternatives(warehouse, endpoint, today, total)
    _report(ours, theirs, memory)


def _ours(settings: Settings, warehouse: ClickHouse, endpoint: str, day: date, total: int) -> list[Measured]:
    store, zone = postgres(settings), landing_zone(settings)
    capture = IdentityCapture(QueryReader(_table(endpoint)), zone, store, "benchmark", 4)
    load = SnapshotLoad(warehouse, zone, IdentityLedger(store, day, "benchmark"), day)

    def captured() -> None:
        _, failures = capture.capture(day, ENVIRONMENT_LIST)
        assert failures == []

    def loaded() -> None:
        assert load.load(ENVIRONMENT_LIST).failures == []

    return [
        _measured("reading", "raw_identities", total, captured),
        _measured("loading", "identity_snapshots", total, loaded),
        _measured("counting", "segment_counts, one pass", total, lambda: _count(warehouse, day)),
    ]


def _count(warehouse: ClickHouse, day: date) -> None:
    counts = count_segments(warehouse, day, segments(), ENVIRONMENT_LIST)
    assert {count.status for count in counts} == {"counted"}


def _alternatives(warehouse: ClickHouse, endpoint: str, day: date, total: int) -> list[Measured]:
    read, rows = min(PART_READ, total), min(PART_LOADED, total)
    warehouse.execute("CREATE TABLE alternative AS identities")
    return [
        _measured("reading", "boto3 resource, flatten, json", read, lambda: _read_by_resource(endpoint, read)),
        _measured("loading", "client.insert, 1,000 rows each", rows, lambda: _insert_rows(warehouse, day, rows)),
        _measured("counting", "one query per segment and environment", total, lambda: _count_singly(warehouse, day)),
        _measured("counting", "flag_engine in Python", PART_EVALUATED, _evaluate),
    ]


def _read_by_resource(endpoint: str, wanted: int) -> None:
    """What the documentation of boto3 teaches, to JSON lines in memory."""
    table = boto3.resource("dynamodb", endpoint_url=endpoint, config=Config(retries={"mode": "adaptive"})).Table("t")
    lines = 0
    query: dict[str, Any] = {
        "IndexName": "environment_api_key-identifier-index",
        "KeyConditionExpression": Key("environment_api_key").eq(environment_key(0)),
    }
    while lines < wanted:
        page = table.query(**query)
        for item in page["Items"]:
            flat = {trait["trait_key"]: trait["trait_value"] for trait in item["identity_traits"]}
            json.dumps({"identifier": item["identifier"], "traits": flat}, default=float)
            lines += 1
        if "LastEvaluatedKey" not in page:
            query["KeyConditionExpression"] = Key("environment_api_key").eq(environment_key(1))
            query.pop("ExclusiveStartKey", None)
            continue
        query["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def _insert_rows(warehouse: ClickHouse, day: date, count: int) -> None:
    columns = ["snapshot_date", "project_id", "environment_id", "identifier", "identity_key", "traits", "inserted_at"]
    now = datetime.now(timezone.utc)
    for start in range(0, count, 1_000):
        rows = [[day, 1, "e", f"user-{n}", f"e_user-{n}", traits(n), now] for n in range(start, start + 1_000)]
        warehouse.client.insert("alternative", rows, column_names=columns)


def _count_singly(warehouse: ClickHouse, day: date) -> None:
    for segment in segments():
        for environment in ENVIRONMENT_LIST:
            count_segments(warehouse, day, [segment], [environment])


def _evaluate() -> None:
    contexts: list[Any] = [
        {
            "environment": {"key": "e", "name": "E"},
            "identity": {"identifier": str(n), "key": f"e_{n}", "traits": traits(n)},
        }
        for n in range(PART_EVALUATED)
    ]
    for segment in segments():
        for context in contexts:
            is_context_in_segment(context, segment.context)


def _measured(stage: str, way: str, identities: int, work: Callable[[], None]) -> Measured:
    with console.status(f"{stage}: {way} …"):
        began = time.perf_counter()
        work()
        return Measured(stage, way, identities, time.perf_counter() - began)


def _report(ours: list[Measured], theirs: list[Measured], memory_mb: float) -> None:
    table = Table(
        "stage", "way", title=f"{ours[0].identities:,} identities x 8 traits x 50 segments", title_justify="left"
    )
    for heading in ("identities", "seconds", "identities/s", "ours is faster by"):
        table.add_column(heading, justify="right")
    for one in ours:
        _row(table, one, "")
        for other in theirs:
            if other.stage == one.stage:
                _row(table, other, f"{one.rate / other.rate:.1f}x")
    whole = sum(1 / one.rate for one in ours)
    alternative = sum(1 / other.rate for other in theirs[:3])
    _row(table, Measured("end to end", "ours", ours[0].identities, whole * ours[0].identities), "")
    _row(
        table,
        Measured("end to end", "the first alternatives", ours[0].identities, alternative * ours[0].identities),
        f"{alternative / whole:.1f}x",
    )
    console.print(table)
    console.print(f"Peak memory of the pipeline's process: {memory_mb:,.0f} MB")


def _row(table: Table, one: Measured, ratio: str) -> None:
    table.add_row(one.stage, one.way, f"{one.identities:,}", f"{one.seconds:.2f}", f"{one.rate:,.0f}", ratio)


def _table(endpoint: str) -> IdentitiesTable:
    client = boto3.client("dynamodb", endpoint_url=endpoint, config=Config(retries={"mode": "adaptive"}))
    return IdentitiesTable(client, "t", "environment_api_key-identifier-index")


@contextmanager
def _stores() -> Iterator[Settings]:
    """Empty, migrated engines in a temporary directory, exported as the environment."""
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        stack = Stack(Path(home))
        try:
            os.environ.update(stack.up())
            settings = Settings.load()
            with postgres(settings).connect() as connection:
                connection.execute(files("analytics_pipeline.embedded.demo").joinpath("schema.sql").read_bytes())
            migrate(settings)
            yield settings
        finally:
            stack.down()


if __name__ == "__main__":
    main()
