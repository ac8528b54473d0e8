"""Questions to reports: whose, from when until when, in which zone's days. Everything is validated here."""

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from analytics_pipeline.flows.reporting.errors import (
    InvalidOffset,
    InvalidRange,
    InvalidSubject,
)
from analytics_pipeline.flows.reporting.reads.metrics import report_dimension
from analytics_pipeline.flows.reporting.zones import zone

MAX_RANGE = timedelta(days=3_660)
_EARLIEST = datetime(1990, 1, 1, tzinfo=timezone.utc)
_LATEST = datetime(2100, 1, 1, tzinfo=timezone.utc)
# The offsets that zones have: from UTC-12 to UTC+14.
_OFFSETS = (timedelta(hours=-12), timedelta(hours=14))


@dataclass(frozen=True)
class ReportQuery:
    """Events of an account in [since, until), both aware. `entity_id` is an agent's, inbox's or team's; None: all.

    `timezone` is a name (IANA, or one that Rails gives to it) or an offset from UTC; None: the account's own, or UTC.

    Raises:
        InvalidRange: naive, reversed, empty, longer than ten years, or not within 1990 to 2099.
        UnknownDimension, UnknownZone, InvalidOffset: they do not exist.
        InvalidSubject: the account's own reports were asked for another id than its own.
    """

    account_id: int
    since: datetime
    until: datetime
    dimension: str = "account"
    entity_id: int | None = None
    timezone: str | timedelta | None = None
    business_hours: bool = False

    def __post_init__(self) -> None:
        _check_range(self.since, self.until)
        report_dimension(self.dimension)
        if self.dimension == "account" and self.entity_id not in (None, self.account_id):
            raise InvalidSubject(f"a report on account {self.account_id} takes no id of its own")
        if isinstance(self.timezone, str):
            zone(self.timezone)
        elif self.timezone is not None:
            _check_offset(self.timezone)

    @property
    def subject(self) -> int:
        """The one id that the report is on.

        Raises:
            InvalidSubject: it is on no single one.
        """
        if self.dimension == "account":
            return self.account_id
        if self.entity_id is None:
            raise InvalidSubject(f"this report is on one {self.dimension}: its id is needed")
        return self.entity_id


def _check_range(since: datetime, until: datetime) -> None:
    if since.utcoffset() is None or until.utcoffset() is None:
        raise InvalidRange("since and until need a time zone: a moment without one could be any of 26 hours")
    if not _EARLIEST <= since < _LATEST or not _EARLIEST <= until <= _LATEST:
        raise InvalidRange("since and until must lie in the years 1990 to 2099")
    if since >= until:
        raise InvalidRange("since must be before until: since is inclusive, until exclusive")
    if until - since > MAX_RANGE:
        raise InvalidRange(f"a report covers at most {MAX_RANGE.days} days, this one {(until - since).days}")


def _check_offset(offset: timedelta) -> None:
    if not _OFFSETS[0] <= offset <= _OFFSETS[1] or offset % timedelta(minutes=1):
        raise InvalidOffset(f"{offset.total_seconds() / 3600:g} h is no offset from UTC")
