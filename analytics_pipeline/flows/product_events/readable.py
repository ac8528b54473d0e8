"""Rejected events as far as they can be read, under the policy that stored ones are under.

A member that is not what its type says is left out, and so is every value of a type that nobody knows: nothing tells
whether it is personal.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, get_type_hints
from uuid import UUID

import msgspec
from msgspec.structs import asdict

from analytics_pipeline.flows.dead_letters import DeadLetter
from analytics_pipeline.flows.product_events.decoding import Head, Sent
from analytics_pipeline.flows.product_events.errors import TooMuch
from analytics_pipeline.flows.product_events.privacy.policy import Privacy
from analytics_pipeline.flows.product_events.registry import SHAPES
from analytics_pipeline_sdk.events import EVENT_TYPES, Event, wire_name

LONGEST = 8_192
_ORIGIN = ("hostname", "environment", "service")
_ENVELOPE: Mapping[str, Any] = {"id": UUID, "timestamp": str, **dict.fromkeys(_ORIGIN, str)}


def letter_of(privacy: Privacy, organisation_id: int, head: Head, sent: Sent | bytes, reason: str) -> DeadLetter:
    """The dead letter of an event, decoded or not."""
    envelope = _of_sent(sent) if isinstance(sent, Sent) else _of_raw(sent)
    event = _event(privacy, organisation_id, envelope.get("event"))
    told = {name: _readable(envelope.get(name), kind) for name, kind in _ENVELOPE.items()}
    for name in _ORIGIN:
        told[name] = (told[name] or getattr(head, name) or "")[:LONGEST]
    payload = msgspec.json.encode({**told, "event": event})
    if len(payload) > LONGEST:
        payload = msgspec.json.encode({"id": told["id"], "event": {"type": event.get("type")}})
    return DeadLetter(str(told["id"] or ""), reason, payload.decode())


def _of_sent(sent: Sent) -> dict[str, Any]:
    kind = SHAPES[type(sent.event)].type
    told = {"id": str(sent.id), "timestamp": sent.timestamp.isoformat()}
    origin = {"hostname": sent.hostname, "environment": sent.environment, "service": sent.service}
    return {**told, **origin, "event": {"type": kind, **msgspec.to_builtins(asdict(sent.event))}}


def _of_raw(raw: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _event(privacy: Privacy, organisation_id: int, event: Any) -> dict[str, Any]:
    """The members of an event that are what its type says, as the policy leaves them."""
    kind = str(event.get("type")).replace("o_auth_", "oauth_", 1) if isinstance(event, dict) else ""
    hints = _hints().get(kind)
    if hints is None:
        return {}
    members = {name: _readable(event.get(name), hint) for name, hint in hints.items()}
    try:
        privacy.treat(kind, organisation_id, members)
    except TooMuch:
        return {"type": kind}
    return {"type": kind, **{name: value for name, value in members.items() if value is not None}}


def _readable(value: Any, kind: Any) -> Any:
    """The value when it is of that kind, else nothing."""
    try:
        msgspec.convert(value, kind)
    except (msgspec.MsgspecError, RecursionError, OverflowError):
        return None
    return value


@cache
def _hints() -> Mapping[str, Mapping[str, Any]]:
    return {wire_name(kind): _of_members(kind) for kind in EVENT_TYPES}


def _of_members(kind: type[Event]) -> Mapping[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {name: hints[name] for name in kind.__struct_fields__}
