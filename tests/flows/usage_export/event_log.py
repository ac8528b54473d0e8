"""The event log of the tests' product, and runs over it."""

from collections.abc import Callable, Sequence
from typing import Any

from psycopg.types.json import Jsonb

from analytics_pipeline.flows.usage_export import allow_list
from analytics_pipeline.flows.usage_export.export import export
from analytics_pipeline.flows.usage_export.ledger import create
from analytics_pipeline.flows.usage_export.line import Run, Served
from analytics_pipeline.flows.usage_export.records import Instance
from analytics_pipeline.flows.usage_export.source import batch_size
from analytics_pipeline.resources.deadline import Deadline
from analytics_pipeline.resources.sinks.base import Sink
from tests.product import Product

SITE = Instance("site-1", "kubernetes")


def add_event(product: Product, name: str = "ViewSearch", **columns: Any) -> int:
    """One event; returns its id."""
    row = {"name": name, "user_id": 7, "source": "WEB", "version": "5.1.0", **columns}
    values = [Jsonb(value) if isinstance(value, dict | list) else value for value in row.values()]
    places = ", ".join(["%s"] * len(row))
    ((event_id,),) = product.execute(
        f"INSERT INTO event_logs ({', '.join(row)}) VALUES ({places}) RETURNING id", *values
    )
    return int(event_id)


def add_events(product: Product, count: int, name: str = "ViewSearch") -> None:
    """Many events at once."""
    product.execute(
        "INSERT INTO event_logs (name, user_id, source, version)"
        " SELECT %s, 7, 'WEB', '5.1.0' FROM generate_series(1, %s)",
        name,
        count,
    )


def allow(product: Product, *names: str, **keys: Sequence[str]) -> None:
    """Let events of these names leave, with these keys of their payloads."""
    allow_list.add(product.postgres, [*names, *keys])
    for name, ones in keys.items():
        allow_list.allow_keys(product.postgres, name, ones)


def begin(product: Product, *sinks: str, after: int = 0) -> None:
    """Let these sinks begin after an event, as `export start` does."""
    with product.postgres.ledgers.connect() as connection:
        for sink in sinks:
            create(connection, sink, after, "{}", "1")


def run_of(product: Product, *, batch: int | None = None, seconds: float = 60) -> Run:
    return Run(
        product.postgres,
        allow_list.allow_list(product.postgres),
        SITE,
        batch or batch_size(product.postgres),
        Deadline.after(seconds, ""),
        "run-1",
    )


def run(product: Product, *sinks: Sink, batch: int | None = None, seconds: float = 60) -> list[Served]:
    """One run of the export for these sinks."""
    by_name: dict[str, Sink] = {sink.name: sink for sink in sinks}
    open_sink: Callable[[str], Sink] = by_name.__getitem__
    return export(run_of(product, batch=batch, seconds=seconds), list(by_name), open_sink)


def bookmark(product: Product, sink: str = "receiver") -> int:
    ((found,),) = product.execute(
        "SELECT bookmark_id FROM analytics_pipeline.event_logs_scrape_state WHERE sink = %s", sink
    )
    return int(found)


def due_again(product: Product) -> None:
    """As if the pauses after failures were over."""
    product.execute("UPDATE analytics_pipeline.event_logs_scrape_state SET next_attempt_at = now()")
