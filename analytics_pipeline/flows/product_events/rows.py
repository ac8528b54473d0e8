"""Events become rows of `analytics_events`, or are rejected: the time is checked, the privacy policy applied."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from msgspec import json
from msgspec.structs import asdict

from analytics_pipeline.config import Settings
from analytics_pipeline.flows.dead_letters import DeadLetter
from analytics_pipeline.flows.product_events.decoding import Arrived, Head, Sent, Unread
from analytics_pipeline.flows.product_events.errors import TooMuch
from analytics_pipeline.flows.product_events.privacy.policy import Privacy, privacy
from analytics_pipeline.flows.product_events.privacy.templates import LONGEST_LABEL
from analytics_pipeline.flows.product_events.readable import letter_of
from analytics_pipeline.flows.product_events.registry import SHAPES, Row

UNKNOWN = "unknown"
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MILLISECOND = timedelta(milliseconds=1)
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
class RowMaker:
    """Makes rows under one policy and one retention, in whole days of UTC."""

    privacy: Privacy
    retention_days: int

    def made(self, organisation_id: int, arrived: Arrived, received_at: int) -> list[Row | Rejection]:
        """A row or a rejection for each event; `received_at` is in milliseconds since 1970."""
        sent_at = arrived.head.sent_at
        skew = None if sent_at is None else received_at - milliseconds(sent_at)
        oldest = self.oldest(received_at)
        return [
            self._made(organisation_id, arrived.head, one, (received_at, skew, oldest))
            if isinstance(one, Sent)
            else self._unread(organisation_id, arrived.head, one)
            for one in arrived.events
        ]

    def oldest(self, now: int) -> int:
        """The first moment, in milliseconds, whose day has not been dropped."""
        return (now // _DAY - self.retention_days + 1) * _DAY

    def _made(
        self, organisation_id: int, head: Head, sent: Sent, moments: tuple[int, int | None, int]
    ) -> Row | Rejection:
        received_at, skew, oldest = moments
        timestamp = milliseconds(sent.timestamp)
        if not oldest <= timestamp <= received_at + _FUTURE:
            late = f"it is older than {self.retention_days} days, which events are kept"
            reason = late if timestamp < oldest else "it is more than 24 hours in the future"
            return self._rejected(organisation_id, head, sent, "timestamp", reason)
        try:
            return self._row(organisation_id, head, sent, (timestamp, received_at, skew))
        except TooMuch as error:
            return self._rejected(organisation_id, head, sent, "event", str(error))

    def _row(self, organisation_id: int, head: Head, sent: Sent, moments: tuple[int, int, int | None]) -> Row:
        timestamp, received_at, skew = moments
        shape = SHAPES[type(sent.event)]
        members = asdict(sent.event)
        self.privacy.treat(shape.type, organisation_id, members)
        columns = {name: members.pop(name) for name in shape.columns}
        status = columns.get("status_code")
        if status is not None and not 0 <= status <= _LARGEST_STATUS:
            members["status_code"] = columns.pop("status_code")
        return Row(
            organisation_id,
            sent.id,
            timestamp / 1000,
            received_at / 1000,
            skew,
            shape.type,
            columns.pop("name", None),
            columns.pop("service", None) or _label(sent.service or head.service) or UNKNOWN,
            _label(sent.hostname or head.hostname),
            _label(sent.environment or head.environment),
            _label(head.sdk),
            **columns,
            data=members,
        )

    def refused(self, row: Row, field: str | None, reason: str) -> Rejection:
        """The rejection of an event that was made a row; nothing but its id and its type is kept."""
        payload = json.encode({"id": str(row.event_id), "event": {"type": row.event_type}}).decode()
        return Rejection(field, reason, DeadLetter(str(row.event_id), _told(field, reason), payload))

    def _rejected(self, organisation_id: int, head: Head, sent: Sent, field: str, reason: str) -> Rejection:
        return Rejection(field, reason, letter_of(self.privacy, organisation_id, head, sent, _told(field, reason)))

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


def milliseconds(moment: datetime) -> int:
    """Milliseconds since 1970, floored; a moment without a zone is in UTC."""
    return ((moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)) - _EPOCH) // _MILLISECOND


def _label(text: str | None) -> str:
    return text[:LONGEST_LABEL] if text else ""


def _told(field: str | None, reason: str) -> str:
    return f"{field}: {reason}" if field else reason
