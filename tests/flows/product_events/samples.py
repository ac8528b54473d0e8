"""Events as services send them."""

import time
import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

from analytics_pipeline_sdk.identifiers import uuid7

USER = "018f0000-0000-7000-8000-000000000001"
TASK = "018f0000-0000-7000-8000-000000000002"


def new_id() -> str:
    return uuid7(time.time_ns())


def moment(**ago: float) -> str:
    """A moment so long ago, as it is written."""
    return (datetime.now(timezone.utc) - timedelta(**ago)).isoformat(timespec="milliseconds")


def envelope(event: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    """An event of a request, unless another is given, with an id and a time stamp of its own."""
    return {"id": new_id(), "timestamp": moment(), "event": event or request(), **members}


def request(**members: Any) -> dict[str, Any]:
    plain = {"service": "web", "endpoint": "/tasks/{id}", "method": "GET", "status_code": 200, "duration_ms": 12}
    return {"type": "api_request", **plain, "user_id": USER, **members}


def completed(**members: Any) -> dict[str, Any]:
    plain = {"task_id": TASK, "user_id": USER, "duration_ms": 500, "exit_code": 0}
    return {"type": "task_completed", **plain, **members}


def custom(name: str = "clicked", **properties: Any) -> dict[str, Any]:
    return {"type": "custom", "name": name, "properties": properties}


def batch(*events: Any, **members: Any) -> dict[str, Any]:
    """A batch as the SDK sends it."""
    head = {"request_id": str(uuid.uuid4()), "attempt": 1, "sent_at": moment(), "sdk": "python/1.0"}
    return {**head, "hostname": "host-1", "environment": "test", "service": "worker", "events": [*events], **members}
