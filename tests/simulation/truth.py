"""What the figures have to be, counted in plain Python from the product's own rows: no code of the flows is used."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from flag_engine.segments.evaluator import is_context_in_segment

from tests.simulation.source import AiEvent, Event, Identities, Segment, State

# A row of one of the relations that are copied.
Kept: TypeAlias = Event | AiEvent
# (dimension, id, metric) to (count, seconds, seconds in business hours).
Rollup: TypeAlias = dict[tuple[str, int, str], tuple[int, float, float]]

# Event to the metrics that it feeds, and how each of them counts.
METRICS = {
    "conversation_resolved": {"resolutions_count": "count", "resolution_time": "seconds"},
    "first_response": {"first_response": "seconds"},
    "reply_time": {"reply_time": "seconds"},
    "conversation_bot_resolved": {"bot_resolutions_count": "count"},
    "conversation_bot_handoff": {"bot_handoffs_count": "conversations"},
}
CHAT = {1: "request_duo_chat_response"}
SUGGESTIONS = {
    1: "code_suggestions_requested",
    2: "code_suggestion_shown_in_ide",
    3: "code_suggestion_accepted_in_ide",
    4: "code_suggestion_rejected_in_ide",
}


def from_day(state: State, first: date) -> State:
    """The state without the rows of earlier days."""
    kept = {
        relation: {id_: row for id_, row in rows.items() if utc_day(row) >= first}
        for relation, rows in state.rows.items()
    }
    return replace(state, rows=defaultdict(dict, kept))


def zone_of(stored: str | None) -> ZoneInfo | None:
    """The account's zone; None when there is none, or no such zone."""
    try:
        return ZoneInfo(stored) if stored else None
    except (ZoneInfoNotFoundError, ValueError):
        return None


def zoned(state: State) -> dict[int, ZoneInfo]:
    return {account: zone for account, stored in state.zones.items() if (zone := zone_of(stored))}


def events(state: State) -> list[Event]:
    """The events that can be kept."""
    rows = state.rows["reporting_events"].values()
    return [row for row in rows if isinstance(row, Event) and row.name is not None and row.account_id is not None]


def ai_events(state: State, relation: str) -> list[AiEvent]:
    """The AI events that can be kept."""
    known = CHAT if relation == "ai_duo_chat_events" else SUGGESTIONS
    return [row for row in state.rows[relation].values() if isinstance(row, AiEvent) and row.event in known]


def utc_day(row: Kept) -> date:
    return (row.created_at if isinstance(row, Event) else row.timestamp).astimezone(timezone.utc).date()


def refused(state: State, relation: str) -> dict[date, set[str]]:
    """The ids of the rows that cannot be kept, by day."""
    kept: Iterable[Kept] = events(state) if relation == "reporting_events" else ai_events(state, relation)
    found: dict[date, set[str]] = defaultdict(set)
    for row in state.rows[relation].values():
        if row not in kept:
            found[utc_day(row)].add(str(row.id))
    return dict(found)


def copied(row: Kept) -> tuple[Any, ...]:
    """The row as ClickHouse has to hold it."""
    if isinstance(row, Event):
        return (
            row.id,
            *(row.name, row.value, row.value_in_business_hours, row.account_id),
            *(row.inbox_id, row.user_id, row.conversation_id, row.created_at, row.updated_at),
        )
    payload = row.payload or {}
    millisecond = row.timestamp.replace(microsecond=row.timestamp.microsecond // 1000 * 1000)
    return (
        row.id,
        *(row.user_id, row.event, namespace(row.namespace_path), millisecond, row.created_at),
        *(payload.get("language", ""), payload.get("suggestion_size", 0)),
    )


def namespace(path: str | None) -> str:
    return f"{(path or '').rstrip('/') or '0'}/"


def rollup(state: State, account: int, zone: ZoneInfo, day: date) -> Rollup:
    """The figures of the account's local day."""
    found: Rollup = {}
    conversations: dict[tuple[str, int], set[int | None]] = defaultdict(set)
    for event in events(state):
        if event.account_id != account or event.created_at.astimezone(zone).date() != day:
            continue
        ids = {"account": event.account_id, "agent": event.user_id, "inbox": event.inbox_id}
        for metric, kind in METRICS.get(event.name or "", {}).items():
            for dimension, id_ in ids.items():
                if id_ is None:
                    continue
                count, seconds, business = found.get((dimension, id_, metric), (0, 0.0, 0.0))
                if kind == "conversations":
                    conversations[dimension, id_].add(event.conversation_id)
                    count = len(conversations[dimension, id_]) - 1
                if kind == "seconds":
                    seconds += _seconds(event.value)
                    business += _seconds(event.value_in_business_hours)
                found[dimension, id_, metric] = (count + 1, seconds, business)
    return found


def _seconds(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) else 0.0


def usage(state: State) -> dict[tuple[date, str, str, int, str, str], tuple[int, int, datetime]]:
    """(day, feature, event, user, namespace, language) to (events, lines, the latest of them)."""
    found: dict[Any, tuple[int, int, datetime]] = {}
    for feature, relation, names in (
        ("chat", "ai_duo_chat_events", CHAT),
        ("code_suggestions", "ai_code_suggestion_events", SUGGESTIONS),
    ):
        for row in ai_events(state, relation):
            _, user, event, path, moment, _, language, size = copied(row)
            key = (moment.date(), feature, names[event], user, path, language)
            count, lines, last = found.get(key, (0, 0, moment))
            found[key] = (count + 1, lines + size, max(last, moment))
    return found


def happened(state: State, days: Iterable[date]) -> Counter[str]:
    """How often each AI event happened on these days."""
    wanted = set(days)
    found: Counter[str] = Counter()
    for (day, _, name, *_), (count, *_) in usage(state).items():
        if day in wanted:
            found[name] += count
    return found


def members(identities: Identities, key: str, segment_id: int, segment: Segment) -> int | None:
    """How many identities of the environment the flag engine counts in the segment; None when it cannot."""
    context: Any = {"key": str(segment_id), "name": f"Segment {segment_id}", "rules": segment.rules}
    try:
        return sum(
            is_context_in_segment(_context(environment, identifier, traits), context)
            for (environment, identifier), traits in identities.items()
            if environment == key
        )
    except Exception:  # noqa: BLE001 - whatever it raises, it has no answer
        return None


def _context(environment: str, identifier: str, traits: Mapping[str, Any]) -> Any:
    return {
        "environment": {"key": environment, "name": "Environment"},
        "identity": {"identifier": identifier, "key": f"{environment}_{identifier}", "traits": dict(traits)},
    }


def days_between(first: date, last: date) -> list[date]:
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]
