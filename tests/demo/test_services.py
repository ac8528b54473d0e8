"""The demo's services: what happens in them are events that anybody's ingestion takes."""

import random

import msgspec
import pytest

from analytics_pipeline.demo.services import SERVICES
from analytics_pipeline_sdk import MemoryClient


@pytest.mark.parametrize(
    ("name", "types"),
    [
        ("shop", {"api_request", "application_error", "auth_login_attempt"}),
        (
            "tasks",
            {
                *("task_created", "task_started", "task_completed", "task_failed"),
                *("cocoon_registered", "cocoon_connected", "cocoon_disconnected"),
            },
        ),
        ("hub", {"integration_connected", "integration_used", "integration_error", "auth_token_refresh", "custom"}),
    ],
)
def test_services__at_work__send_these_types_and_nothing_is_refused(name: str, types: set[str]) -> None:
    dice, client = random.Random(1), MemoryClient()  # noqa: S311
    sent = [event for _ in range(300) for event in SERVICES[name](dice)]
    for event in sent:
        client.track(event)
    stats = client.stats()
    assert (stats.accepted, stats.refused) == (len(sent), {})
    assert {msgspec.to_builtins(event)["type"] for event in sent} == types
