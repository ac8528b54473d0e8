"""How the product itself sent AI events: pages of records, shaped one by one, in small batches."""

import csv
import gzip
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

from psycopg import sql

from analytics_pipeline.flows.ai_usage.source import DUO_CHAT_EVENTS
from analytics_pipeline.flows.daily_copy.source import DaySource
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.postgres import Postgres

# Rows of a query, and of an insert.
PAGE, BATCH = 500, 5_000


def send(store: Postgres, warehouse: ClickHouse, source: DaySource, table: str, wanted: int) -> None:
    """The first rows: of each batch a compressed CSV file, and an asynchronous insert that is waited for."""
    rows, sent = itertools.chain.from_iterable(_pages(store, source)), 0
    attributes = [column for column in source.columns if column not in DUO_CHAT_EVENTS.columns]
    while sent < wanted:
        with tempfile.TemporaryFile() as file:
            with gzip.open(file, "wt", newline="") as text:
                batch = list(itertools.islice(rows, min(BATCH, wanted - sent)))
                csv.writer(text).writerows(_event(row, attributes) for row in batch)
            file.seek(0)
            warehouse.client.raw_insert(
                table,
                column_names=list(source.columns),
                insert_block=file,
                fmt="CSV",
                compression="gzip",
                settings={"async_insert": 1, "wait_for_async_insert": 1, "date_time_input_format": "best_effort"},
            )
        sent += len(batch)


def _pages(store: Postgres, source: DaySource) -> Iterator[list[tuple[Any, ...]]]:
    """Pages by id, over one connection."""
    statement = sql.SQL(
        "SELECT id, user_id, event, namespace_path, timestamp, created_at, payload FROM {} WHERE id > %s"
        " ORDER BY id LIMIT {}"
    ).format(store.relation(source.relation), sql.Literal(PAGE))
    passed = 0
    with store.connect() as connection:
        while page := connection.execute(statement, [passed]).fetchall():
            yield page
            passed = page[-1][0]


def _event(row: tuple[Any, ...], attributes: Sequence[str]) -> tuple[object, ...]:
    """A record as it is sent."""
    number, user, event, path, timestamp, created, payload = row
    namespace = ((path or "").rstrip("/") or "0") + "/"
    moment = timestamp.replace(microsecond=timestamp.microsecond // 1_000 * 1_000)
    return number, user, event, namespace, moment, created, *((payload or {}).get(name, "") for name in attributes)
