"""AI events through HTTP, narrowed by what their payload holds."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

SUGGESTIONS = ["code_suggestions"] * 4


@pytest.mark.parametrize(
    ("wanted", "features"),
    [
        ({}, [*SUGGESTIONS, *["chat"] * 4]),
        ({"min_suggestion_size": 3}, SUGGESTIONS),
        ({"min_suggestion_size": 4}, []),
        ({"min_suggestion_size": 1, "max_suggestion_size": 3}, SUGGESTIONS),
        ({"max_suggestion_size": 2}, ["chat"] * 4),
        ({"branch_name": "main"}, SUGGESTIONS),
        ({"branch_name": "other"}, []),
        ({"language": "go"}, SUGGESTIONS[:2]),
        ({"unique_tracking_id": "x"}, []),
        ({"user": 1}, ["code_suggestions", "chat"]),
        ({"event": "code_suggestion_shown_in_ide", "user": [0, 2]}, SUGGESTIONS[:2]),
    ],
)
def test_events__by_what_they_hold__are_those_alone(
    asked: TestClient, wanted: dict[str, Any], features: list[str]
) -> None:
    found = asked.get("/v1/ai-usage/events", params=wanted).json()["data"]

    assert sorted(row["feature"] for row in found) == sorted(features)
