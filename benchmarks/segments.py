"""Counting and its check where there are many: 3,000 environments, and 20,000 segments in one project.

    python -m benchmarks.segments
    python -m benchmarks.segments --smaller 20             so many times fewer environments of a project, and segments

The targets are of the full size.
"""

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, timezone

from psycopg.types.json import Jsonb
from rich.console import Console
from rich.table import Table

from analytics_pipeline.flows.segments.counting import count_segments
from analytics_pipeline.flows.segments.refresh import SECONDS_PER_PROJECT
from analytics_pipeline.flows.segments.sampling.compare import SECONDS, compare
from analytics_pipeline.flows.segments.source import live_segments
from analytics_pipeline.flows.tenants import Project, all_projects
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.connection import connect
from analytics_pipeline.resources.postgres import Postgres, postgres
from benchmarks.stores import stores
from benchmarks.workload import segments

# Target: the check of 3,000 environments.
MINUTE = 60.0
console = Console(width=140)


@dataclass(frozen=True)
class Product:
    """Projects of one size; every environment has `identities`, every project `segments`."""

    first: int
    projects: int
    environments: int
    identities: int
    segments: int

    @property
    def name(self) -> str:
        return f"{self.projects} projects x {self.environments:,} environments x {self.segments:,} segments"

    def smaller(self, times: int) -> "Product":
        return replace(self, environments=max(2, self.environments // times), segments=max(10, self.segments // times))


PRODUCTS = (
    Product(1_000, 20, 150, 30, 50),
    Product(2_000, 1, 3_000, 30, 50),
    Product(3_000, 1, 4, 2_500, 20_000),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--smaller", type=int, default=1, help="so many times (default: %(default)s)")
    times: int = parser.parse_args().smaller
    today = datetime.now(timezone.utc).date()
    table = Table("product", "identities", "work", title="Counting, and the check of the counts", title_justify="left")
    table.add_column("seconds", justify="right")
    table.add_column("target")
    table.add_column("compared")
    with stores() as settings, connect(settings, Tag("benchmark", "run")) as warehouse:
        store = postgres(settings)
        for product in (one.smaller(times) for one in PRODUCTS):
            fill(product, store, warehouse, today)
            _measure(product, store, warehouse, today, table)
            console.print(table)
    console.print(f"Load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; others' work counts, too.")


def fill(product: Product, store: Postgres, warehouse: ClickHouse, day: date) -> None:
    """The product in place of what was there before, with a snapshot of the day."""
    rules = [Jsonb(segment.rules) for segment in segments()]
    last = product.first + product.projects - 1
    with store.connect() as connection:
        connection.execute("TRUNCATE organisations, projects, environments, segments CASCADE")
        connection.execute("TRUNCATE analytics_pipeline.segment_refreshes")
        connection.execute("INSERT INTO organisations VALUES (1, 'Organisation')")
        connection.execute(
            "INSERT INTO projects SELECT id, 1, 'Project' FROM generate_series(%s::bigint, %s) AS id",
            [product.first, last],
        )
        connection.execute(
            "INSERT INTO environments SELECT projects.id * 10000 + n, projects.id,"
            " concat('environment-', projects.id, '-', n), 'Production' FROM projects, generate_series(1, %s) AS n",
            [product.environments],
        )
        connection.cursor().executemany(
            "INSERT INTO segments (id, project_id, name, rules)"
            " SELECT id * 100000 + %s, id, 'Segment', %s FROM projects",
            [(number, rules[number % len(rules)]) for number in range(product.segments)],
        )
        connection.execute(
            "INSERT INTO analytics_pipeline.segment_refreshes"
            " (project_id, organisation_id, snapshot_date, status, run_id, started_at)"
            " SELECT id, 1, %s, 'completed', 'benchmark', now() FROM projects",
            [day],
        )
    _fill_identities(product, warehouse, day)


def _fill_identities(product: Product, warehouse: ClickHouse, day: date) -> None:
    warehouse.execute("TRUNCATE TABLE identities")
    warehouse.execute(
        "INSERT INTO identities (snapshot_date, project_id, environment_id, identifier, identity_key, traits,"
        " traits_format, inserted_at)"
        " SELECT {day:Date}, project, concat('environment-', toString(project), '-', toString(environment)),"
        " concat('user-', toString(number)), concat('user-', toString(number)),"
        " toJSONString(map('plan', ['free', 'starter', 'pro'][number % 3 + 1], 'country', ['DE', 'FR'][number % 2 + 1],"
        " 'company_size', toString(number), 'email', concat('user-', toString(number), '@example.com'),"
        " 'app_version', concat('1.', toString(number % 20), '.0'))), 2, now64(3)"
        " FROM numbers({identities:UInt64}) ARRAY JOIN range({first:UInt64}, {end:UInt64}) AS project"
        " ARRAY JOIN range(1, {environments:UInt64} + 1) AS environment",
        day=day,
        identities=product.identities,
        first=product.first,
        end=product.first + product.projects,
        environments=product.environments,
    )


def _measure(product: Product, store: Postgres, warehouse: ClickHouse, day: date, table: Table) -> None:
    identities = f"{product.projects * product.environments * product.identities:,}"
    projects = all_projects(store)

    def counted() -> str:
        for project in projects:
            _count(project, store, warehouse, day)
        return ""

    def compared() -> str:
        found = compare(warehouse, store, day, "benchmark")
        assert found.found == []
        return ", ".join(f"{name}: {count:,}" for name, count in found.counts().items() if count)

    for work, limit, do in (("counting", SECONDS_PER_PROJECT, counted), ("check", min(MINUTE, SECONDS), compared)):
        seconds, said = _timed(f"{product.name}: {work}", do)
        verdict = "[green]met[/]" if seconds < limit else "[red]not met[/]"
        table.add_row(product.name, identities, work, f"{seconds:.1f}", f"less than {limit:g} s: {verdict}", said)


def _count(project: Project, store: Postgres, warehouse: ClickHouse, day: date) -> None:
    counts = count_segments(warehouse, day, live_segments(store, project.id), project.environments)
    assert {count.status for count in counts} == {"counted"}


def _timed(what: str, do: Callable[[], str]) -> tuple[float, str]:
    with console.status(f"{what} …"):
        began = time.perf_counter()
        said = do()
        return time.perf_counter() - began, said


if __name__ == "__main__":
    main()
