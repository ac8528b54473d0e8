"""The demo product's event log: events that may leave, events that may not, and some that are committed late.

Rows that exist stay, so a later load adds nothing.
"""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from analytics_pipeline.flows.usage_export import allow_list
from analytics_pipeline.flows.usage_export.ledger import create
from analytics_pipeline.resources.postgres import Postgres

ALLOWED = {"SearchResultsQueried": ("query_type", "results"), "ViewRepository": ()}
FORBIDDEN = ("SignInAttempted", "LicenseKeyEntered")
EVENTS = 400
# Ids of a transaction that is still open when the others are there.
LATE = range(201, 213)
SINKS = ("own", "disk")


@dataclass(frozen=True)
class LogEvent:
    id: int
    name: str
    user_id: int
    source: str
    version: str
    timestamp: datetime
    argument: dict[str, Any]
    public_argument: dict[str, Any]
    feature_flags: dict[str, Any]


def export_environment(home: Path) -> dict[str, str]:
    """The export of the demo: on, into our own ClickHouse and into a directory of its home."""
    return {
        "EXPORT_USAGE_DATA_ENABLED": "true",
        "EXPORT_SITE_ID": "demo",
        "EXPORT_DEPLOY_TYPE": "demo",
        "EXPORT_SINKS": f"own=clickhouse: disk={(home / 'exports').as_uri()}",
    }


def log_events(now: datetime) -> tuple[LogEvent, ...]:
    """All events but the late ones, the last at `now`."""
    return tuple(_event(number, now) for number in range(1, EVENTS + 1) if number not in LATE)


def let_them_leave(store: Postgres) -> None:
    """Allow two names and two keys, and let both sinks begin with the first event, unless that has been done."""
    allow_list.add(store, [*ALLOWED])
    for name, keys in ALLOWED.items():
        allow_list.allow_keys(store, name, keys)
    with store.ledgers.connect() as connection:
        for sink in SINKS:
            create(connection, sink, 0, "{}", "1")


def commit_late_events(database_url: str, now: datetime) -> int:
    """The late transaction ends: its events have lower ids than many that have left; returns how many there are."""
    columns = ("id", "name", "user_id", "source", "version", "timestamp", "argument")
    with psycopg.connect(database_url) as connection:
        statement = f"INSERT INTO event_logs ({', '.join(columns)}) VALUES (%s, %s, %s, %s, %s, %s, %s)"
        cursor = connection.cursor()
        cursor.executemany(
            f"{statement} ON CONFLICT DO NOTHING".encode(),
            [[getattr(_event(number, now), name) for name in columns[:-1]] + ["{}"] for number in LATE],
        )
        return max(0, cursor.rowcount)


def _event(number: int, now: datetime) -> LogEvent:
    dice = random.Random(f"demo:event:{number}")  # noqa: S311
    name = dice.choice((*ALLOWED, *ALLOWED, *FORBIDDEN))
    public = {
        "query_type": dice.choice(("literal", "regexp")),
        "results": dice.randrange(100),
        "query": "a private search",
    }
    return LogEvent(
        id=number,
        name=name,
        user_id=dice.randint(1, 12),
        source="WEB",
        version="5.3.0",
        timestamp=now - timedelta(minutes=EVENTS - number),
        argument={"private": "never read"},
        public_argument=public if name == "SearchResultsQueried" else {},
        feature_flags={"new-navigation": dice.random() < 0.5},
    )
