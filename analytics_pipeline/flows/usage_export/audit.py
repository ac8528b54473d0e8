"""The questions that the checks of the usage export ask."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg import sql
from typing_extensions import LiteralString

from analytics_pipeline.flows.audited import Audited
from analytics_pipeline.flows.usage_export.bookmark import FLOW
from analytics_pipeline.flows.usage_export.ledger import states
from analytics_pipeline.flows.usage_export.pending import backlogs
from analytics_pipeline.flows.usage_export.source import RELATION, newest
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.postgres import Postgres

# An event that has waited longer than this is late, however many wait.
OLDEST_PENDING = timedelta(hours=1)
# How many events ClickHouse is compared with, the newest ones before the bookmark.
COMPARED = 100_000


@dataclass(frozen=True)
class Waiting:
    """A sink whose oldest pending event (UTC) has waited too long, and what holds it up."""

    sink: str
    oldest_at: datetime
    events: int
    why: str


@dataclass(frozen=True)
class Ahead:
    """A sink whose bookmark lies behind the end of the log: the log was emptied or is another one now."""

    sink: str
    bookmark_id: int
    newest_id: int


@dataclass(frozen=True)
class Difference:
    """Events of a name that should have arrived in ClickHouse, and how many of them are there."""

    name: str
    expected: int
    held: int


def waiting_too_long(postgres: Postgres, now: datetime) -> Audited[list[Waiting]]:
    """Sinks whose backlog is older than `OLDEST_PENDING`; a paused one is meant to wait."""
    found = states(postgres)
    served = {sink: one for sink, one in backlogs(postgres).items() if found[sink].paused_at is None}
    late = [
        Waiting(sink, one.oldest_at, one.events, found[sink].last_error if found[sink].consecutive_failures else "")
        for sink, one in served.items()
        if one.oldest_at is not None and one.oldest_at < now - OLDEST_PENDING
    ]
    return Audited(len(served), late)


def bookmarks_ahead(postgres: Postgres) -> Audited[list[Ahead]]:
    """Sinks whose bookmark has passed the newest committed event; nothing would ever leave to them."""
    found = states(postgres)
    with postgres.connect() as connection:
        end = newest(connection, postgres).id
    ahead = [Ahead(sink, one.bookmark_id, end) for sink, one in found.items() if one.bookmark_id > end]
    return Audited(len(found), ahead)


def dead_letters(postgres: Postgres) -> Audited[dict[str, int]]:
    """How many records of each sink are dead letters."""
    rows = postgres.query(
        "SELECT unit, count(*) FROM analytics_pipeline.dead_letters WHERE flow = %(flow)s GROUP BY unit ORDER BY unit",
        flow=FLOW,
    )
    return Audited(len(states(postgres)), dict(rows))


def missing_in_clickhouse(postgres: Postgres, clickhouse: ClickHouse, sink: str) -> Audited[list[Difference]]:
    """Names of which ClickHouse lacks events that the log has, among the newest that it has acknowledged.

    Of a name events count from the first that is there: it may have been allowed only then. What has gone from the log
    since is no difference.
    """
    ((first, last, records, without),) = postgres.query(_DELIVERED, sink=sink, most=COMPARED)
    if first is None:
        return Audited(0, [])
    with postgres.connect() as connection:
        ((since, until),) = connection.execute(_of_log(postgres, _SPAN), {"first": first, "last": last}).fetchall()
        held = {
            name: (events, first_held)
            for name, events, first_held in clickhouse.query(_HELD, first=first, last=last, since=since, until=until)
        }
        parameters = {"first": first, "last": last, "without": without, "names": [*held]}
        firsts = {"firsts": [first_held for _, first_held in held.values()]}
        expected: dict[str, int] = dict(
            connection.execute(_of_log(postgres, _EXPECTED), parameters | firsts).fetchall()
        )
    total = sum(events for events, _ in held.values())
    different = [Difference(name, count, held[name][0]) for name, count in expected.items() if held[name][0] < count]
    return Audited(records, different if total >= records else [*different, Difference("all names", records, total)])


def _of_log(postgres: Postgres, statement: LiteralString) -> sql.Composed:
    return sql.SQL(statement).format(event_logs=postgres.relation(RELATION))


# The newest batches; and what of their events is no record: refused ones, and ones that have yet to be sent.
_DELIVERED = """
    WITH recent AS (
        SELECT first_id, last_id, records, sum(records) OVER (ORDER BY id DESC) - records AS newer
        FROM analytics_pipeline.export_deliveries WHERE sink = %(sink)s AND status = 'delivered' AND kind = 'live'
    )
    SELECT min(first_id), max(last_id), sum(records)::bigint, (
        SELECT coalesce(range_agg(one), '{{}}')::text FROM (
            SELECT int8range(record_key::bigint, record_key::bigint, '[]') AS one FROM analytics_pipeline.dead_letters
            WHERE flow = 'usage_export' AND unit = %(sink)s
            UNION ALL SELECT int8range(first_id, last_id, '[]') FROM analytics_pipeline.event_logs_gaps
            WHERE sink = %(sink)s
        ) AS missing
    ) FROM recent WHERE newer < %(most)s
"""

_SPAN = """
    SELECT min(timestamp)::timestamptz, max(timestamp)::timestamptz FROM {event_logs}
    WHERE id BETWEEN %(first)s AND %(last)s AND timestamp >= '1900-01-01' AND timestamp < '2299-12-31'
"""

_HELD = """
    SELECT name, uniqExact(event_log_id), min(event_log_id) FROM exported_events
    WHERE event_log_id BETWEEN {first:UInt64} AND {last:UInt64}
        AND timestamp BETWEEN {since:DateTime64(6)} AND {until:DateTime64(6)}
    GROUP BY name
"""

_EXPECTED = """
    SELECT log.name, count(*) FROM {event_logs} AS log
    INNER JOIN unnest(%(names)s::text[], %(firsts)s::bigint[]) AS held (name, first_id) ON held.name = log.name
    WHERE log.id BETWEEN %(first)s AND %(last)s AND log.id >= held.first_id
        AND NOT log.id <@ %(without)s::int8multirange
    GROUP BY log.name
"""
