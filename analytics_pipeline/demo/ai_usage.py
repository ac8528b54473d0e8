"""AI events of the demo product's users in the three weeks before it was loaded.

Unlike the rest it ends yesterday, so that a history of a few weeks can be watched coming in; the same seed makes the
same events of any day. Rows that exist stay, so a later load adds nothing.
"""

import random
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from typing import Any

AI_FLAG = "ai_events_backfill_to_ch"
WEEKS = 3
_USERS = range(1, 13)
_NAMESPACES = ("1/11/", "1/12/", "2/13/", "2/14/", None)
_LANGUAGES = ("python", "typescript", "go", "ruby")
_CHAT, _SHOWN, _ACCEPTED, _REJECTED = 1, 2, 3, 4


@dataclass(frozen=True)
class ApplicationSettings:
    id: int
    use_clickhouse_for_analytics: bool


@dataclass(frozen=True)
class AiEvent:
    id: int
    timestamp: datetime
    user_id: int
    organization_id: int
    event: int
    namespace_path: str | None
    payload: dict[str, Any] | None
    created_at: datetime


def chat_events(today: date) -> tuple[AiEvent, ...]:
    """Questions to the chat, fewer at weekends."""
    dice = random.Random("demo:chat")  # noqa: S311
    return tuple(
        _event(number, moment, dice, _CHAT, None) for number, moment in enumerate(_moments(today, dice, 12), start=1)
    )


def code_suggestion_events(today: date) -> tuple[AiEvent, ...]:
    """Suggestions, each shown and then accepted, rejected or left alone."""
    dice = random.Random("demo:code")  # noqa: S311
    events: list[AiEvent] = []
    for moment in _moments(today, dice, 20):
        payload = {
            "unique_tracking_id": f"{dice.getrandbits(64):016x}",
            "language": dice.choice(_LANGUAGES),
            "suggestion_size": dice.randint(1, 25),
            "branch_name": "main",
        }
        shown = _event(len(events) + 1, moment, dice, _SHOWN, payload)
        events.append(shown)
        outcome = dice.choice((_ACCEPTED, _ACCEPTED, _REJECTED, None))
        if outcome:
            later = moment + timedelta(seconds=dice.randint(1, 30))
            who = (shown.user_id, shown.organization_id, outcome, shown.namespace_path)
            events.append(AiEvent(len(events) + 1, later, *who, payload, later))
    return tuple(events)


def _moments(today: date, dice: random.Random, busiest: int) -> list[datetime]:
    days = [today - timedelta(days=number) for number in range(7 * WEEKS, 0, -1)]
    counts = [dice.randint(2, busiest) if day.weekday() < 5 else dice.randint(0, 2) for day in days]
    return [
        datetime.combine(day, time(8), timezone.utc) + timedelta(seconds=dice.randrange(10 * 3600))
        for day, count in zip(days, counts, strict=True)
        for _ in range(count)
    ]


def _event(number: int, moment: datetime, dice: random.Random, event: int, payload: dict[str, Any] | None) -> AiEvent:
    user = dice.choice(_USERS)
    return AiEvent(number, moment, user, user % 4 + 1, event, dice.choice(_NAMESPACES), payload, moment)
