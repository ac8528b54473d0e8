"""The export as one would write it: read a page, make a record of each row, serialise each, send the page, go on."""

import gzip
import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias
from urllib.request import Request, urlopen

from psycopg import sql
from psycopg.rows import dict_row

from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.postgres import Postgres

Send: TypeAlias = Callable[[list[dict[str, Any]]], None]
_TEXTS = ("anonymous_user_id", "first_source_url", "last_source_url", "referrer")
_SITE = uuid.UUID(int=1)


def loop(store: Postgres, names: list[str], keys: set[str], batch: int, wanted: int, send: Send) -> int:
    """The first allowed events, batch by batch, until so many are sent; returns how many that were."""
    sent = 0
    for page in _pages(store, names, batch):
        records = [_record(row, keys) for row in page]
        send(records)
        sent += len(records)
        if sent >= wanted:
            break
    return sent


def to_file(directory: Path) -> Send:
    """A compressed file for each batch."""

    def send(records: list[dict[str, Any]]) -> None:
        path = directory / f"{records[0]['event_log_id']}.ndjson.gz"
        path.write_bytes(gzip.compress("".join(json.dumps(one) + "\n" for one in records).encode(), 1))

    return send


def to_clickhouse(warehouse: ClickHouse, table: str) -> Send:
    """An insert for each batch."""

    def send(records: list[dict[str, Any]]) -> None:
        lines = "".join(json.dumps(one) + "\n" for one in records).encode()
        settings = {"date_time_input_format": "best_effort"}
        warehouse.client.raw_insert(table, insert_block=lines, fmt="JSONEachRow", settings=settings)

    return send


def to_http(url: str) -> Send:
    """A request for each batch."""

    def send(records: list[dict[str, Any]]) -> None:
        body = gzip.compress("".join(json.dumps(one) + "\n" for one in records).encode(), 1)
        with urlopen(Request(url, body, {"Content-Encoding": "gzip"})) as answer:  # noqa: S310 - our own server
            answer.read()

    return send


def _pages(store: Postgres, names: list[str], batch: int) -> Iterator[list[dict[str, Any]]]:
    statement = sql.SQL("SELECT * FROM {} WHERE id > %s AND name = ANY(%s) ORDER BY id LIMIT %s").format(
        store.relation("event_logs")
    )
    passed = 0
    with store.connect() as connection:
        cursor = connection.cursor(row_factory=dict_row)
        while page := cursor.execute(statement, [passed, names, batch]).fetchall():
            yield page
            passed = page[-1]["id"]


def _record(row: dict[str, Any], keys: set[str]) -> dict[str, Any]:
    return {
        "record_id": str(uuid.uuid5(_SITE, str(row["id"]))),
        "event_log_id": row["id"],
        "site_id": "benchmark",
        "deploy_type": "",
        **{name: row[name] for name in ("name", "user_id", "source", "version", "device_id", "insert_id")},
        **{name: row[name] or "" for name in _TEXTS},
        "url": "",
        "timestamp": row["timestamp"].isoformat(),
        "cohort_id": row["cohort_id"] and row["cohort_id"].isoformat(),
        "feature_flags": _allowed(row["feature_flags"], keys),
        "public_argument": _allowed(row["public_argument"], keys),
    }


def _allowed(payload: dict[str, Any] | None, keys: set[str]) -> str:
    return json.dumps({key: value for key, value in (payload or {}).items() if key in keys})
