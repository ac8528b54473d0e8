"""Events of tests, as ingestion stores them, and what the aggregates are to make of them, by pandas."""

import random
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import pandas as pd

from analytics_pipeline.flows.days import day_start
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from tests.product import today

ORGANISATION, OTHER = 1, 2
SERVICES = ("web", "worker")
_UNSET: Mapping[str, Any] = {
    "organisation_id": ORGANISATION,
    "event_type": "project_updated",
    "name": "",
    "service": "unknown",
    "user_id": None,
    "cocoon_id": None,
    "integration_id": None,
    "provider": "",
    "success": None,
    "duration_ms": None,
    "duration_seconds": None,
    "endpoint": "",
    "method": "",
    "status_code": None,
    "error_type": "",
    "error_message": "",
}


def an_id(number: int) -> UUID:
    return UUID(int=number)


def at(days_ago: int, hours: float = 12) -> datetime:
    """A moment of the UTC day that is so many days ago."""
    return day_start(today() - timedelta(days=days_ago)) + timedelta(hours=hours)


def event(number: int, timestamp: datetime, **columns: Any) -> dict[str, Any]:
    """One event as a row; received when it happened unless `received_at` is given."""
    return {**_UNSET, "event_id": an_id(number), "timestamp": timestamp, "received_at": timestamp, **columns}


def store(clickhouse: ClickHouse, events: Iterable[Mapping[str, Any]]) -> None:
    """Add the events as one block."""
    rows = list(events)
    if rows:
        columns = list(rows[0])
        clickhouse.insert_rows("analytics_events", columns, [[row[column] for column in columns] for row in rows])


def random_events(dice: random.Random, number: int, days: Sequence[date]) -> list[dict[str, Any]]:
    """Events of two organisations with the same ids of users, cocoons and integrations, many at edges of hours."""
    return [_random_event(dice, one, days) for one in range(number)]


def _random_event(dice: random.Random, number: int, days: Sequence[date]) -> dict[str, Any]:
    moment = day_start(dice.choice(days)) + dice.choice(
        (
            timedelta(0),
            timedelta(hours=dice.randrange(24)),
            timedelta(days=1) - timedelta(milliseconds=1),
            timedelta(milliseconds=dice.randrange(86_400_000)),
        )
    )
    type_ = dice.choice(_TYPES)
    return event(
        number,
        moment,
        received_at=moment + timedelta(seconds=dice.choice((0, 1, 7200))),
        organisation_id=dice.choice((ORGANISATION, OTHER)),
        event_type=type_,
        name=dice.choice(("opened", "closed")) if type_ == "custom" else "",
        service=dice.choice(SERVICES),
        user_id=dice.choice((None, *map(an_id, range(5)))),
        **_fields(dice, type_),
    )


def _fields(dice: random.Random, type_: str) -> dict[str, Any]:
    if type_.startswith("task_"):
        return {"duration_ms": dice.choice((None, 0, dice.randrange(100_000)))}
    if type_.startswith("integration_"):
        return {"provider": dice.choice(("github", "slack")), "integration_id": an_id(dice.randrange(4))}
    if type_.startswith("auth_"):
        return {"success": dice.random() < 0.7}
    if type_.startswith("cocoon_"):
        return {"cocoon_id": an_id(dice.randrange(4)), "duration_seconds": dice.choice((None, dice.randrange(9000)))}
    if type_ == "api_request":
        return {
            "endpoint": dice.choice(("/v1/tasks", "/v1/tasks/{id}")),
            "method": dice.choice(("GET", "POST")),
            "status_code": dice.choice((200, 399, 400, 499, 500, 503)),
            "duration_ms": dice.choice((0, 1, dice.randrange(60_000))),
        }
    if type_ == "application_error":
        return {"error_type": dice.choice(("io", "db")), "error_message": f"message {dice.randrange(3)}"}
    return {}


_TYPES = (
    *(f"task_{what}" for what in ("created", "started", "completed", "failed", "cancelled")),
    *(f"integration_{what}" for what in ("connected", "disconnected", "used", "error")),
    *(f"cocoon_{what}" for what in ("registered", "connected", "disconnected", "claimed")),
    *("auth_login_attempt", "auth_code_verified", "auth_token_refresh", "auth_session_validated"),
    *("api_request", "api_request", "api_request", "application_error", "application_error"),
    *("custom", "project_updated", "webhook_received"),
)


def frame(events: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """The events, each id of an organisation once, with their day and hour."""
    found: pd.DataFrame = pd.DataFrame(list(events)).drop_duplicates(["organisation_id", "event_id"])
    stamps = pd.to_datetime(found["timestamp"], utc=True)
    found["date"], found["hour"] = stamps.dt.date, stamps.dt.floor("h")
    return found
