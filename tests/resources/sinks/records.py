"""Batches as the usage export makes them."""

import json
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from analytics_pipeline.resources.sinks.base import Batch, Sink

START = datetime(2026, 5, 1, 23, 59, 0, tzinfo=timezone.utc)


def record(event_log_id: int, at: datetime | None = None, **members: Any) -> dict[str, Any]:
    """One record, with every member."""
    moment = at or START
    return {
        "record_id": str(uuid.uuid5(uuid.NAMESPACE_OID, str(event_log_id))),
        "event_log_id": event_log_id,
        "site_id": "site",
        "deploy_type": "kubernetes",
        "name": "SearchResultsQueried",
        "url": "",
        "anonymous_user_id": "",
        "first_source_url": "",
        "last_source_url": "",
        "user_id": 7,
        "source": "WEB",
        "timestamp": f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}",
        "version": "5.3.0",
        "feature_flags": '{"é": true}',
        "cohort_id": "2026-04-27",
        "referrer": "",
        "public_argument": '{"at": "2024-01-01T10:00:00Z"}',
        "device_id": "device",
        "insert_id": None,
        **members,
    }


def batch_of(records: Sequence[dict[str, Any]], *, is_synthetic: bool = False) -> Batch:
    lines = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in records).encode()
    return Batch(tuple(one["event_log_id"] for one in records), lines, is_synthetic)


def batch(first: int, last: int, step: timedelta = timedelta(0)) -> Batch:
    """Records with the ids from `first` to `last`, each a `step` later than the one before."""
    return batch_of([record(number, START + step * (number - first)) for number in range(first, last + 1)])


def events(lines: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.splitlines()]


def _check(sink: Sink) -> None:
    sink.check()


def _send(sink: Sink) -> object:
    return sink.send(batch_of([record(1), record(2)]))


# What a sink is asked for.
ASKS: tuple[Callable[[Sink], object], ...] = (_check, _send)
