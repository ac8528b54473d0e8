"""The AI events themselves, the newest first, by what they are about."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from analytics_pipeline.flows.ai_usage.reads import Scope, parameters_of
from analytics_pipeline.flows.ai_usage.registry import EVENTS
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.sql_files import sql_file


@dataclass(frozen=True)
class AiEvent:
    """An event as it was copied. Of chat, everything after the namespace is empty or 0."""

    timestamp: datetime
    feature: str
    id: int
    event: str
    user_id: int
    namespace: str
    language: str
    suggestion_size: int
    branch_name: str
    unique_tracking_id: str


@dataclass(frozen=True)
class Wanted:
    """A choice of events: of these names and users, with these values in their payload; '' and () narrow nothing.

    Sizes of suggestions are in lines, both ends inclusive; of chat they are 0.
    """

    events: tuple[str, ...] = ()
    users: tuple[int, ...] = ()
    branch_name: str = ""
    unique_tracking_id: str = ""
    smallest: int = 0
    largest: int = 2**63 - 1


def events(
    clickhouse: ClickHouse, scope: Scope, wanted: Wanted, after: tuple[datetime, str, int] | None, limit: int
) -> list[AiEvent]:
    """At most so many events, the newest first, after the one of this moment, feature and id."""
    known = [event for event in EVENTS if not wanted.events or event.name in wanted.events]
    names = {(event.feature, event.source_id): event.name for event in EVENTS}
    parameters: dict[str, Any] = {
        **parameters_of(scope),
        "kinds": [(event.feature, event.source_id) for event in known] or [("", 0)],
        "users": list(wanted.users),
        "branch": wanted.branch_name,
        "tracking": wanted.unique_tracking_id,
        "smallest": wanted.smallest,
        "largest": wanted.largest,
        "at": after[0] if after else datetime(2299, 1, 1),  # noqa: DTZ001 - later than all, in the column's own zone
        "feature": after[1] if after else "",
        "id": after[2] if after else 0,
        "limit": limit,
    }
    rows = clickhouse.query(sql_file(__package__, "events.sql"), **parameters)
    return [AiEvent(row[0], row[1], row[2], names.get((row[1], row[3]), ""), *row[4:]) for row in rows]
