"""Summary that `demo` shows at its end: what ran, what came out, what to do next."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from analytics_pipeline.cli.local.materialise import Materialised
from analytics_pipeline.config import Settings
from analytics_pipeline.demo.product import demo_product
from analytics_pipeline.flows.tenants import (
    FEATURE_OFF,
    NO_SEGMENTS,
    SEGMENT_MEMBERSHIP_FLAG,
    all_projects,
    enabled_tenants,
)
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.feature_flags import feature_flags
from analytics_pipeline.resources.postgres import Postgres

SEGMENTS_SHOWN = 6
_NEXT = {
    "make dev": "the Dagster UI on this data: lineage, partitions, backfills",
    "analytics-pipeline stack up": "the engines alone, to query ClickHouse and Postgres",
    "analytics-pipeline doctor": "with your own stores in the environment: what is missing",
    "make clean": "removes everything that this made",
}


def show_runs(console: Console, materialised: list[Materialised]) -> None:
    """Asset by asset: rows, seconds, and anything worth a second look."""
    table = Table("asset", "state", title="What ran", title_justify="left")
    table.add_column("rows", justify="right")
    table.add_column("seconds", justify="right")
    table.add_column("notes")
    colours = {"done": "green", "skipped": "yellow", "failed": "red"}
    for asset in materialised:
        rows = asset.metadata.get("dagster/partition_row_count")
        table.add_row(
            asset.asset,
            f"[{colours[asset.state]}]{asset.state}[/]",
            "" if rows is None else f"{rows:,}",
            f"{asset.seconds:.1f}",
            escape(asset.error or _notes(asset)),
        )
    console.print(table)


def _notes(asset: Materialised) -> str:
    wanted = {
        "environments": "environments captured",
        "environments_loaded": "environments loaded",
        "environments_unchanged": "loaded already",
        "dead_letters": "dead letters",
        "records": "records sent",
        "fallback": "counted by the flag engine (SQL cannot say them)",
        "unknown": "without an answer (see the run's unknown_counts)",
    }
    found = [f"{asset.metadata[key]} {label}" for key, label in wanted.items() if asset.metadata.get(key)]
    if asset.metadata.get("events") == 0:
        found.append("no event older than a minute yet")
    return ", ".join(found)


@dataclass(frozen=True)
class _Pair:
    project: str
    segment: str
    environment: str
    count: int | None
    status: str


def show_segment_counts(console: Console, postgres: Postgres, clickhouse: ClickHouse, day: date) -> None:
    """For each project, its largest segments with their count in each environment, beside the environment's size."""
    sizes = _environment_sizes(clickhouse, day)
    by_project: dict[str, list[_Pair]] = defaultdict(list)
    current = postgres.query(_CURRENT_COUNTS)
    names = ("organisations", "projects", "segments", "environments", "counts", "statuses")
    columns = {name: [row[number] for row in current] for number, name in enumerate(names)}
    for row in postgres.query(_NAMED_COUNTS, **columns):
        by_project[row[0]].append(_Pair(*row))
    for project, pairs in by_project.items():
        console.print(_project_table(project, pairs, sizes))


_CURRENT_COUNTS = """
    SELECT organisation_id, project_id, segment_id, environment_id, count, status
    FROM analytics_pipeline.segment_membership_counts
"""

_NAMED_COUNTS = """
    SELECT organisation.name || ' / ' || project.name, segment.name, environment.api_key || ' ' || environment.name,
           current.count, current.status
    FROM unnest(
        %(organisations)s::bigint[], %(projects)s::bigint[], %(segments)s::bigint[], %(environments)s::bigint[],
        %(counts)s::bigint[], %(statuses)s::text[]
    ) AS current (organisation_id, project_id, segment_id, environment_id, count, status)
    JOIN {segments} AS segment ON segment.id = current.segment_id
    JOIN {environments} AS environment ON environment.id = current.environment_id
    JOIN {projects} AS project ON project.id = current.project_id
    JOIN {organisations} AS organisation ON organisation.id = current.organisation_id
    ORDER BY project.id, segment.id, environment.id
"""


def _environment_sizes(clickhouse: ClickHouse, day: date) -> dict[str, int]:
    rows = clickhouse.query(
        "SELECT environment_id, count() FROM identities FINAL WHERE snapshot_date = {day:Date} GROUP BY environment_id",
        day=day,
    )
    return dict(rows)


def _project_table(project: str, pairs: list[_Pair], sizes: dict[str, int]) -> Table:
    environments = list(dict.fromkeys(pair.environment for pair in pairs))
    table = Table(title=escape(project), title_justify="left")
    table.add_column("segment", footer="all identities")
    for environment in environments:
        key, _, name = environment.partition(" ")
        table.add_column(escape(name), justify="right", footer=f"{sizes.get(key, 0):,}")
    table.show_footer = True
    counts = {(pair.segment, pair.environment): pair for pair in pairs}
    segments = sorted({pair.segment for pair in pairs}, key=lambda name: _largest(name, pairs))
    for segment in segments[:SEGMENTS_SHOWN]:
        table.add_row(escape(segment), *(_cell(counts.get((segment, environment))) for environment in environments))
    if len(segments) > SEGMENTS_SHOWN:
        table.add_row(f"[dim]… and {len(segments) - SEGMENTS_SHOWN} more[/]")
    return table


def _largest(segment: str, pairs: list[_Pair]) -> int:
    return -max((pair.count or 0 for pair in pairs if pair.segment == segment), default=0)


def _cell(pair: _Pair | None) -> str:
    if pair is None:
        return ""
    return f"[yellow]{pair.status}[/]" if pair.count is None else f"{pair.count:,}"


def show_skipped(console: Console, settings: Settings, postgres: Postgres) -> None:
    """Projects that are left out and why, and the identities that are therefore not captured."""
    tenants = enabled_tenants(postgres, feature_flags(settings, postgres))
    organisations: dict[int, str] = dict(postgres.query("SELECT id, name FROM {organisations}"))
    names = {
        project.id: f"{organisations[project.organisation_id]} / {project.name}" for project in all_projects(postgres)
    }
    reasons = {
        FEATURE_OFF: f"{SEGMENT_MEMBERSHIP_FLAG} is off for the organisation",
        NO_SEGMENTS: "no live segment",
    }
    left_out = ", ".join(f"{names[one.project_id]} ({reasons[one.reason]})" for one in tenants.skipped)
    captured = {environment.key for environment in tenants.environments}
    identities = demo_product().identities
    taken = sum(identity.environment_api_key in captured for identity in identities)
    console.print(
        f"{len(tenants.projects)} of {len(names)} projects are captured and counted. Left out: {left_out}.\n"
        f"Their {len(identities) - taken:,} identities stay in DynamoDB; {taken:,} of {len(identities):,} are captured."
    )


def show_next_steps(console: Console, home: Path, *, seconds: float, kept: bool) -> None:
    """Where to go from here."""
    console.print(f"[bold]What next[/]  (done in {seconds:.0f} s; everything is kept under {escape(str(home))})")
    if kept:
        console.print("The engines go on running; stop them with: analytics-pipeline stack down")
    for command, what in _NEXT.items():
        console.print(f"  [bold]{command:<29}[/]{what}")
