"""Events as they come in, for who looks on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from analytics_pipeline.resources.clickhouse.client import ClickHouse

# Commits of several workers become visible in another order than their events came in.
_OVERLAP = timedelta(seconds=10)
MOST = 200


@dataclass(frozen=True)
class Shown:
    """An event as the tail shows it; moments are in UTC."""

    organisation_id: int
    event_id: str
    timestamp: datetime
    received_at: datetime
    event_type: str
    name: str
    service: str
    user_id: str
    endpoint: str
    error_message: str


@dataclass
class Tail:
    """Events that match, each told once, from `since` on."""

    clickhouse: ClickHouse
    since: datetime
    event_type: str | None = None
    service: str | None = None
    organisation_id: int | None = None
    _told: dict[tuple[int, str], datetime] = field(default_factory=dict, init=False, repr=False)

    def new(self) -> Iterator[Shown]:
        """The events that came in since the last call, at most some hundreds, the oldest first."""
        rows = self.clickhouse.query(
            _NEW,
            since=self.since - _OVERLAP,
            type=self.event_type or "",
            service=self.service or "",
            organisation=-1 if self.organisation_id is None else self.organisation_id,
            most=MOST + len(self._told),
        )
        for shown in self._untold(rows):
            self.since = max(self.since, shown.received_at)
            self._told[shown.organisation_id, shown.event_id] = shown.received_at
            yield shown
        self._told = {key: at for key, at in self._told.items() if at >= self.since - _OVERLAP}

    def _untold(self, rows: Sequence[tuple[Any, ...]]) -> list[Shown]:
        found = [Shown(*row) for row in rows]
        return [one for one in found if (one.organisation_id, one.event_id) not in self._told]


def tail(clickhouse: ClickHouse, seconds: float, **filters: Any) -> Tail:
    """A tail that begins so many seconds ago."""
    return Tail(clickhouse, datetime.now(timezone.utc) - timedelta(seconds=seconds), **filters)


# Only partitions of days that an event of now may bear are read.
_NEW = """
    SELECT organisation_id, toString(event_id), timestamp, received_at, event_type, name, service,
        ifNull(toString(user_id), ''), endpoint, error_message
    FROM analytics_events
    WHERE received_at >= {since:DateTime64(3, 'UTC')}
        AND ({type:String} = '' OR event_type = {type:String}) AND ({service:String} = '' OR service = {service:String})
        AND ({organisation:Int64} < 0 OR organisation_id = {organisation:Int64})
    ORDER BY received_at, event_id LIMIT {most:UInt64}
"""
