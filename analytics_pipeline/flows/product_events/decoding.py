"""Bodies of requests become events, each by itself: one that cannot be read takes no other with it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar
from uuid import UUID

import msgspec

from analytics_pipeline.flows.product_events.errors import UnreadableBatch
from analytics_pipeline_sdk.events import AnyEvent
from analytics_pipeline_sdk.protocol import Batch, Envelope

T = TypeVar("T")
Form = Literal["json", "lines"]
# Of one request. A batch of the SDK has 100.
MOST_EVENTS = 10_000
# Whatever msgspec makes of a value that no type of ours can hold.
_UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeError, OverflowError)


class Sent(Envelope, frozen=True, kw_only=True, gc=False):
    """An event as it comes in. What it says of its origin wins over what its batch says."""

    hostname: str | None = None
    environment: str | None = None
    service: str | None = None


class WholeBatch(Batch, frozen=True, kw_only=True):
    """A batch that is decoded at once, which is three times as fast as event by event."""

    events: list[Sent]  # type: ignore[assignment]


class _Original(msgspec.Struct, frozen=True, kw_only=True):
    """An event as clients of `/events/batch` send it, which give it no id."""

    timestamp: datetime
    event: AnyEvent
    hostname: str | None = None
    environment: str | None = None


@dataclass(frozen=True)
class Unread:
    """An event that is not what the protocol says: the member and the reason, neither with a value of it."""

    field: str | None
    reason: str
    raw: bytes


@dataclass(frozen=True)
class Head:
    """Statements of a batch about all its events; an array and lines make none."""

    request_id: UUID | None = None
    sent_at: datetime | None = None
    sdk: str | None = None
    hostname: str | None = None
    environment: str | None = None
    service: str | None = None


@dataclass(frozen=True)
class Arrived:
    """A request that could be read: its events in their order, those that could not be read among them."""

    head: Head
    events: Sequence[Sent | Unread]


_SENT = msgspec.json.Decoder(Sent)
_SENTS = msgspec.json.Decoder(list[Sent])
_ORIGINAL = msgspec.json.Decoder(_Original)
_WHOLE = msgspec.json.Decoder(WholeBatch)
_BATCH = msgspec.json.Decoder(Batch)
_RAWS = msgspec.json.Decoder(list[msgspec.Raw])


def decoded(body: bytes, form: Form) -> Arrived:
    """The events of a batch (`protocol.Batch`), of an array of envelopes, or of lines with one each.

    Raises:
        UnreadableBatch: it is none of these, or has too many events.
    """
    if form == "lines":
        lines = [line for line in body.split(b"\n") if line.strip()]
        return Arrived(Head(), [_one(line) for line in _counted(lines)])
    try:
        return _at_once(body)
    except _UNREADABLE:
        return _one_by_one(body)


def decoded_original(body: bytes, organisation_id: int) -> Arrived:
    """The events of an array of envelopes without ids. Each gets one that is the same when it is sent again.

    Raises:
        UnreadableBatch: it is no such array.
    """
    raws = [bytes(raw) for raw in _read(_RAWS, body)]
    seen: dict[bytes, int] = {}
    events: list[Sent | Unread] = []
    for raw in _counted(raws):
        # Events that are alike to the last digit of their time stamps are told apart by their order in the request.
        number = seen[raw] = seen.get(raw, 0) + 1
        events.append(_with_id(raw, organisation_id, number))
    return Arrived(Head(), events)


def _at_once(body: bytes) -> Arrived:
    if body.lstrip()[:1] == b"[":
        return Arrived(Head(), _counted(_SENTS.decode(body)))
    batch = _WHOLE.decode(body)
    return Arrived(_head(batch), _counted(batch.events))


def _one_by_one(body: bytes) -> Arrived:
    if body.lstrip()[:1] == b"[":
        return Arrived(Head(), [_one(bytes(raw)) for raw in _counted(_read(_RAWS, body))])
    batch: Batch = _read(_BATCH, body)
    return Arrived(_head(batch), [_one(bytes(raw)) for raw in _counted(batch.events)])


def _read(decoder: Any, body: bytes) -> Any:
    try:
        return decoder.decode(body)
    except _UNREADABLE as error:
        field, reason = _told(error)
        raise UnreadableBatch(f"{field}: {reason}" if field else reason) from None


def _one(raw: bytes) -> Sent | Unread:
    try:
        return _SENT.decode(raw)
    except _UNREADABLE as error:
        return Unread(*_told(error), raw)


def _with_id(raw: bytes, organisation_id: int, number: int) -> Sent | Unread:
    try:
        found = _ORIGINAL.decode(raw)
        milliseconds = int(found.timestamp.timestamp() * 1000) & (1 << 48) - 1
    except (*_UNREADABLE, ValueError) as error:
        return Unread(*_told(error), raw)
    digest = hashlib.sha256(b"%d:%d:%s" % (organisation_id, number, raw)).digest()
    value = milliseconds << 80 | int.from_bytes(digest[:10], "big")
    # Of version 7, so that ids of one time lie together.
    identifier = UUID(int=value & ~(0xF << 76) & ~(0b11 << 62) | 0x7 << 76 | 0b10 << 62)
    return Sent(
        id=identifier,
        timestamp=found.timestamp,
        event=found.event,
        hostname=found.hostname,
        environment=found.environment,
    )


def _head(batch: Batch) -> Head:
    return Head(batch.request_id, batch.sent_at, batch.sdk, batch.hostname, batch.environment, batch.service)


def _counted(ones: Sequence[T]) -> Sequence[T]:
    if len(ones) > MOST_EVENTS:
        raise UnreadableBatch(f"it has {len(ones):,} events, and the most is {MOST_EVENTS:,}")
    return ones


def _told(error: Exception) -> tuple[str | None, str]:
    """The member and the reason, without any value: msgspec names types, and values only of tags."""
    if not isinstance(error, msgspec.ValidationError):
        return None, "it is not JSON that can be read"
    reason, _, path = str(error).partition(" - at `")
    field = path.rstrip("`").removeprefix("$").lstrip(".")[:100] or None
    if reason.startswith("Invalid value"):
        reason = "it is not the name of a type of event"
    return field, reason[:200]
