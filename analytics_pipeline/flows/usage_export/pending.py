"""The sinks that have something to be sent now, and how much waits for each."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from analytics_pipeline.flows.usage_export import gaps, past
from analytics_pipeline.flows.usage_export.allow_list import AllowList, allow_list
from analytics_pipeline.flows.usage_export.ledger import State, states
from analytics_pipeline.flows.usage_export.records import EMPTY, EventReader, Instance
from analytics_pipeline.flows.usage_export.source import RELATION, newest
from analytics_pipeline.resources.postgres import Connection, Postgres

# Counting goes no further: more than that is "a lot".
MOST_COUNTED = 1_000_000
_NOBODY = Instance("", "")


@dataclass(frozen=True)
class Backlog:
    """How many allowed events wait after a bookmark, at most `MOST_COUNTED`, and when the oldest happened (UTC)."""

    events: int
    oldest_at: datetime | None


def backlog(connection: Connection, postgres: Postgres, allowed: AllowList, bookmark: int) -> Backlog:
    """The events after this bookmark. One that was passed and may yet come is not counted: it may never."""
    statement = sql.SQL(_BACKLOG).format(event_logs=postgres.relation(RELATION))
    parameters = {"bookmark": bookmark, "names": list(allowed.names), "most": MOST_COUNTED}
    (row,) = connection.execute(statement, parameters).fetchall()
    return Backlog(*row)


def sinks_to_serve(postgres: Postgres, sinks: Sequence[str]) -> list[str]:
    """Those of the sinks for which there is something to do, in this order."""
    found = states(postgres)
    asked_for = {one.sink for one in past.open_ones(postgres)}
    with closing(postgres.open(autocommit=True)) as source, closing(postgres.ledgers.open(autocommit=True)) as ledger:
        end = newest(source, postgres).id
        reader = EventReader.on(source, postgres, AllowList((), {}), _NOBODY)
        return [
            sink
            for sink in sinks
            if sink not in found or _has_work(found[sink], end, sink in asked_for, ledger, reader)
        ]


def _has_work(state: State, end: int, has_past: bool, ledger: Connection, reader: EventReader) -> bool:
    if not state.is_due:
        return False
    if state.sending or has_past or end > state.bookmark_id:
        return True
    passed = gaps.due(ledger, state.sink, reader.horizon())
    return passed != EMPTY and reader.late(passed, 1, state.bookmark_id) is not None


def backlogs(postgres: Postgres) -> dict[str, Backlog]:
    """The backlog of each sink that was ever served."""
    allowed = allow_list(postgres)
    with closing(postgres.open(autocommit=True)) as source:
        return {sink: backlog(source, postgres, allowed, state.bookmark_id) for sink, state in states(postgres).items()}


_BACKLOG = """
    SELECT count(*), min(timestamp)::timestamptz FROM (
        SELECT timestamp FROM {event_logs} WHERE id > %(bookmark)s AND name = ANY(%(names)s) ORDER BY id LIMIT %(most)s
    ) AS waiting
"""
