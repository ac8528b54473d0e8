"""Events become rows of `analytics_events`, or are rejected: the time is checked, the privacy policy applied."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property

from msgspec import json
from msgspec.structs import astuple

from analytics_pipeline.config import Settings
from analytics_pipeline.flows.dead_letters import DeadLetter
from analytics_pipeline.flows.product_events.decoding import Arrived, Head, Sent, Unread
from analytics_pipeline.flows.product_events.errors import TooMuch
from analytics_pipeline.flows.product_events.privacy.policy import Privacy, Treatment, privacy
from analytics_pipeline.flows.product_events.privacy.templates import LONGEST_LABEL
from analytics_pipeline.flows.product_events.readable import letter_of
from analytics_pipeline.flows.product_events.registry import SHAPES, Row
from analytics_pipeline_sdk.events import Event

UNKNOWN = "unknown"
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_DAY = 86_400_000
# A client's clock may be wrong by this much.
_FUTURE = _DAY
_LARGEST_STATUS = 65_535


@dataclass(frozen=True)
class Rejection:
    """An event that is not stored: the member that is wrong, if one is, why, and what is kept of it."""

    field: str | None
    reason: str
    letter: DeadLetter


@dataclass(frozen=True)
class _Common:
    """Values that all events of a request share. `received_at` and `oldest` are in milliseconds since 1970."""

    organisation_id: int
    head: Head
    received_at: int
    skew_ms: int | None
    oldest: int
    service: str
    hostname: str
    environment: str
    sdk: str


@dataclass(frozen=True)
class RowMaker:
    """Makes rows under one policy and one retention, in whole days of UTC."""

    privacy: Privacy
    retention_days: int

    def made(self, organisation_id: int, arrived: Arrived, received_at: int) -> list[Row | Rejection]:
        """A row or a rejection for each event; `received_at` is in milliseconds since 1970."""
        common = self._common(organisation_id, arrived.head, received_at)
        return [
            self._made(common, one) if isinstance(one, Sent) else self._unread(organisation_id, arrived.head, one)
            for one in arrived.events
        ]

    def oldest(self, now: int) -> int:
        """The first moment, in milliseconds, whose day has not been dropped."""
        return (now // _DAY - self.retention_days + 1) * _DAY

    def _common(self, organisation_id: int, head: Head, received_at: int) -> _Common:
        skew = None if head.sent_at is None else received_at - milliseconds(head.sent_at)
        labels = map(_label, (head.service, head.hostname, head.environment, head.sdk))
        return _Common(organisation_id, head, received_at, skew, self.oldest(received_at), *labels)

    def _made(self, common: _Common, sent: Sent) -> Row | Rejection:
        timestamp = milliseconds(sent.timestamp)
        if not common.oldest <= timestamp <= common.received_at + _FUTURE:
            late = f"it is older than {self.retention_days} days, which events are kept"
            reason = late if timestamp < common.oldest else "it is more than 24 hours in the future"
            return self._rejected(common, sent, "timestamp", reason)
        try:
            return self._row(common, sent, timestamp)
        except TooMuch as error:
            return self._rejected(common, sent, "event", str(error))

    def _row(self, common: _Common, sent: Sent, timestamp: int) -> Row:
        kind = type(sent.event)
        shape, values = SHAPES[kind], [*astuple(sent.event), None]
        for place, treatment in self._treatments[kind]:
            if values[place] is not None:
                values[place] = treatment(common.organisation_id, values[place])
        name, service, *columns = shape.columns(values)
        found = (
            common.organisation_id,
            sent.id,
            timestamp / 1000,
            common.received_at / 1000,
            common.skew_ms,
            shape.type,
            name,
            service or _label(sent.service) or common.service or UNKNOWN,
            _label(sent.hostname) or common.hostname,
            _label(sent.environment) or common.environment,
            common.sdk,
            *columns,
            {name: values[place] for place, name in shape.others if values[place] is not None},
        )
        row = Row(*found)
        return row if row.status_code is None or 0 <= row.status_code <= _LARGEST_STATUS else _without_status(row)

    @cached_property
    def _treatments(self) -> Mapping[type[Event], tuple[tuple[int, Treatment], ...]]:
        """The places of the members that are treated, by type."""
        return {
            kind: tuple(
                (kind.__struct_fields__.index(name), treatment)
                for name, treatment in self.privacy.treatments[shape.type]
            )
            for kind, shape in SHAPES.items()
        }

    def refused(self, row: Row, field: str | None, reason: str) -> Rejection:
        """The rejection of an event that was made a row; nothing but its id and its type is kept."""
        payload = json.encode({"id": str(row.event_id), "event": {"type": row.event_type}}).decode()
        return Rejection(field, reason, DeadLetter(str(row.event_id), _told(field, reason), payload))

    def _rejected(self, common: _Common, sent: Sent, field: str, reason: str) -> Rejection:
        told = _told(field, reason)
        return Rejection(field, reason, letter_of(self.privacy, common.organisation_id, common.head, sent, told))

    def _unread(self, organisation_id: int, head: Head, one: Unread) -> Rejection:
        told = _told(one.field, one.reason)
        return Rejection(one.field, one.reason, letter_of(self.privacy, organisation_id, head, one.raw, told))


def row_maker(settings: Settings) -> RowMaker:
    """The maker that the settings ask for.

    Raises:
        ConfigurationError: EVENT_PRIVACY names a member that no type has.
    """
    return RowMaker(privacy(settings), settings.event_retention_days)


def rejections(entries: Sequence[Row | Rejection]) -> list[Rejection]:
    """Those that were rejected."""
    return [one for one in entries if isinstance(one, Rejection)]


def _without_status(row: Row) -> Row:
    """The row with its status, which the column cannot hold, among the members that have none."""
    row.data = {**(row.data or {}), "status_code": row.status_code}
    row.status_code = None
    return row


def milliseconds(moment: datetime) -> int:
    """Milliseconds since 1970, floored; a moment without a zone is in UTC."""
    since = (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)) - _EPOCH
    return since.days * _DAY + since.seconds * 1000 + since.microseconds // 1000


def _label(text: str | None) -> str:
    return text[:LONGEST_LABEL] if text else ""


def _told(field: str | None, reason: str) -> str:
    return f"{field}: {reason}" if field else reason
