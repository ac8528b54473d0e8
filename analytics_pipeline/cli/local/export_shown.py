"""The part of `demo` that exports its event log, and shows what left and what stayed."""

from datetime import datetime, timezone

from rich.console import Console
from rich.table import Table

from analytics_pipeline.flows.usage_export.allow_list import listed
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.postgres import Postgres


def begin_export(store: Postgres) -> None:
    """Allow what may leave, and let the sinks begin with the first event."""
    from analytics_pipeline.demo.usage_export import let_them_leave

    let_them_leave(store)


def commit_late(database_url: str, console: Console) -> None:
    """End the transaction that was open while the others' events left."""
    from analytics_pipeline.demo.usage_export import commit_late_events

    late = commit_late_events(database_url, datetime.now(timezone.utc))
    if late:
        console.print(f"[green]✓[/] A transaction ends late: {late} events with lower ids than those that have left")


def show_export(console: Console, store: Postgres, clickhouse: ClickHouse) -> None:
    """Name by name: events in the log, and how many have left; keys that left with them."""
    in_log = store.query("SELECT name, count(*) FROM {event_logs} GROUP BY name ORDER BY name")
    left = dict(clickhouse.query("SELECT name, count() FROM exported_events FINAL GROUP BY name"))
    keys = {one.name: one.keys for one in listed(store)}
    table = Table(title="Usage export: what left and what stayed", title_justify="left")
    table.add_column("event")
    for column in ("in the log", "left"):
        table.add_column(column, justify="right")
    table.add_column("with these keys of its payload")
    for name, events in in_log:
        shown = ", ".join(keys[name]) or "none" if name in keys else "[dim]stays: not in the allow list[/]"
        table.add_row(name, f"{events:,}", f"{left.get(name, 0):,}", shown)
    console.print(table)
