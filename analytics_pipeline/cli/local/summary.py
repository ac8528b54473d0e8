"""What `demo` shows at its end: what ran, what came out, what to do next."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from analytics_pipeline.cli.local.materialise import Materialised
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.postgres import Postgres

SEGMENTS_SHOWN = 6


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
        "fallback": "counted by the flag engine, because SQL cannot say them",
        "unknown": "without an answer (the table `unknown_counts` of the run says why)",
        "projects_skipped": "projects skipped",
    }
    found = [f"{asset.metadata[key]} {label}" for key, label in wanted.items() if asset.metadata.get(key)]
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


def show_next_steps(console: Console, home: Path, *, seconds: float, kept: bool) -> None:
    """Where to go from here."""
    engines = "The engines go on running; stop them with: analytics-pipeline stack down\n" if kept else ""
    console.print(
        Panel(
            f"Done in {seconds:.0f} s. Everything is kept under {home}.\n{engines}\n"
            "[bold]make dev[/]                     the Dagster UI on this data: lineage, partitions, backfills\n"
            "[bold]analytics-pipeline stack up[/]  the engines alone, e.g. to query ClickHouse and Postgres yourself\n"
            "[bold]analytics-pipeline doctor[/]    with your own stores in the environment: what is missing\n"
            "[bold]make clean[/]                   removes everything that this made",
            title="What next",
            title_align="left",
        )
    )
