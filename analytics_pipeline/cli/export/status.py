"""`analytics-pipeline export status`, `recent` and `dead-letters`: what there is to see."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone

import click
from rich.markup import escape
from rich.table import Table

from analytics_pipeline.cli.errors import Exit
from analytics_pipeline.cli.export.asking import require_known
from analytics_pipeline.cli.output import json_option, new_console, print_json
from analytics_pipeline.config import Settings
from analytics_pipeline.flows.usage_export import deliveries
from analytics_pipeline.flows.usage_export.pending import MOST_COUNTED
from analytics_pipeline.flows.usage_export.reads import DeadRecord, SinkStatus, dead_records, statuses
from analytics_pipeline.flows.usage_export.source import Blocker, blockers
from analytics_pipeline.resources.postgres import postgres

_COLOURS = {"up to date": "green", "behind": "yellow", "failing": "red", "paused": "yellow"}


@click.command()
@json_option
def status(*, as_json: bool) -> None:
    """Show how far each sink is: its backlog, what it waits for, and what went wrong last.

    Exits with 1 while a sink fails, with 3 while one is paused, behind or has not begun; what is awaited alone is none
    of these: ids that were passed while a transaction was open, which may never come.
    """
    settings = Settings.load()
    store = postgres(settings)
    found = statuses(store, [sink.name for sink in settings.sinks])
    open_ones = blockers(store) if any(one.awaited for one in found) else []
    if as_json:
        sinks = [asdict(one) for one in found]
        print_json({"enabled": settings.export_usage_data_enabled, "sinks": sinks, "blockers": map_all(open_ones)})
        sys.exit(_exit_of(found))
    console = new_console()
    if not settings.export_usage_data_enabled:
        console.print("The export is disabled: EXPORT_USAGE_DATA_ENABLED is not true.", style="yellow")
    if not found:
        console.print("EXPORT_SINKS names no sink (see .env.example).")
        return
    console.print(_table(found))
    for line in [*_notes(found), *_told(open_ones)]:
        console.print(escape(line))
    sys.exit(_exit_of(found))


def map_all(ones: Sequence[Blocker]) -> list[dict[str, object]]:
    """Each as JSON has it."""
    return [asdict(one) for one in ones]


def _exit_of(found: Sequence[SinkStatus]) -> Exit:
    states = {one.state for one in found} - {"not configured"}
    if "failing" in states:
        return Exit.FAILED
    return Exit.GAPS if states - {"up to date"} else Exit.DONE


def _table(found: Sequence[SinkStatus]) -> Table:
    table = Table(title="Sinks", title_justify="left")
    for column in ("sink", "state"):
        table.add_column(column, overflow="fold")
    for column in ("backlog", "oldest pending", "bookmark", "last success", "sent", "dead letters"):
        table.add_column(column, justify="right", overflow="fold")
    now = datetime.now(timezone.utc)
    for one in found:
        table.add_row(
            escape(one.sink),
            f"[{_COLOURS.get(one.state, 'dim')}]{one.state}[/]",
            f"{one.backlog:,}{'+' if one.backlog >= MOST_COUNTED else ''}",
            _age(now, one.oldest_pending_at),
            "" if one.bookmark_id is None else str(one.bookmark_id),
            f"{_age(now, one.last_success_at)} ago" if one.last_success_at else "never",
            f"{one.exported:,}",
            f"{one.failed:,}",
        )
    return table


def _age(now: datetime, moment: datetime | None) -> str:
    if moment is None:
        return ""
    seconds = max(0, int((now - moment).total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _notes(found: Sequence[SinkStatus]) -> list[str]:
    notes = []
    for one in found:
        if one.consecutive_failures:
            again = f"; next attempt {one.next_attempt_at:%H:%M:%S} UTC" if one.next_attempt_at else ""
            notes.append(f"{one.sink}: failed {one.consecutive_failures} times in a row{again}: {one.last_error}")
        if one.awaited:
            notes.append(
                f"{one.sink}: {one.awaited:,} ids were passed that no committed event had; they are looked at again"
            )
        notes += [f"{one.sink}: {text}" for text in one.past]
    return notes


def _told(open_ones: Sequence[Blocker]) -> list[str]:
    """The transactions that may still commit events with ids that were passed."""
    return [
        f"open transaction that may add events: {f'pid {one.pid}, ' if one.pid else ''}{one.name}"
        + (f", since {one.since:%Y-%m-%d %H:%M:%S} UTC" if one.since else "")
        for one in open_ones
    ]


@click.command()
@click.argument("sink", required=False)
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many.")
@json_option
def recent(sink: str | None, limit: int, *, as_json: bool) -> None:
    """Show the newest batches, of SINK or of all: what left, how much, and what became of it."""
    settings = Settings.load()
    store = postgres(settings)
    found = deliveries.recent(store, sink, limit)
    if not found:
        require_known(settings, store, sink)
    if as_json:
        print_json(found)
        return
    table = Table(title="Batches, the newest first", title_justify="left")
    for column in ("started (UTC)", "sink", "kind", "ids", "records", "dead", "bytes", "status", "attempts", "error"):
        table.add_column(column, overflow="fold")
    for one in found:
        counts = [f"{number:,}" for number in (one.records, one.failed, one.bytes)]
        ids = f"{one.first_id}-{one.last_id}"
        begun = f"{one.started_at.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S}"
        table.add_row(begun, one.sink, one.kind, ids, *counts, one.status, str(one.attempts), escape(one.error))
    new_console().print(table if found else "Nothing was sent in the last 30 days.")


@click.command("dead-letters")
@click.argument("sink", required=False)
@json_option
def dead_letters(sink: str | None, *, as_json: bool) -> None:
    """Show records that a receiver will never take, of SINK or of all, and why.

    Their events are still in the log: when the receiver has learned to take them, `export replay` sends them again, and
    those that arrive are no dead letters any more. Exits with 3 while there are any.
    """
    settings = Settings.load()
    store = postgres(settings)
    found = dead_records(store, sink)
    if not found:
        require_known(settings, store, sink)
    if as_json:
        print_json(found)
    else:
        _show_dead(found)
    sys.exit(Exit.GAPS if found else Exit.DONE)


def _show_dead(found: Sequence[DeadRecord]) -> None:
    console = new_console()
    if not found:
        console.print("There are no dead letters.")
        return
    table = Table("sink", "event_logs.id", "reason", "since (UTC)", title="Dead letters", title_justify="left")
    for one in found:
        table.add_row(
            one.sink,
            str(one.event_log_id),
            escape(one.reason),
            f"{one.recorded_at.astimezone(timezone.utc):%Y-%m-%d %H:%M}",
        )
    console.print(table)
    console.print("Send them again: analytics-pipeline export replay SINK --from ID --to ID")
