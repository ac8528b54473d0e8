"""The questions that the checks of the usage export ask."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg import sql

from analytics_pipeline.flows.audited import Audited
from analytics_pipeline.flows.erasure.forgotten import forgotten
from analytics_pipeline.flows.erasure.subjects import in_postgres
from analytics_pipeline.flows.usage_export.bookmark import FLOW
from analytics_pipeline.flows.usage_export.ledger import states
from analytics_pipeline.flows.usage_export.pending import backlogs
from analytics_pipeline.flows.usage_export.source import RELATION, newest
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.postgres import Postgres
from analytics_pipeline.resources.sql_files import sql_file

# An event that has waited longer than this is late, however many wait.
OLDEST_PENDING = timedelta(hours=1)
# Records that ClickHouse is asked about at once: a stretch of the batches that it acknowledged.
STRETCH = 100_000


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
class Stretch:
    """Batches that a sink has acknowledged: their events' first and last id, and how many records they had."""

    first_id: int
    last_id: int
    records: int


@dataclass(frozen=True)
class Difference:
    """Events of a name, with ids from `first_id` to `last_id`, that should be in ClickHouse, and how many are."""

    name: str
    first_id: int
    last_id: int
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


def stretches(postgres: Postgres, sink: str) -> list[Stretch]:
    """All batches that the sink has acknowledged and that are still in the ledger, the newest stretch first."""
    return [Stretch(*row) for row in postgres.query(sql_file(__package__, "stretches.sql"), sink=sink, most=STRETCH)]


def missing_in_clickhouse(
    postgres: Postgres, clickhouse: ClickHouse, sink: str, stretch: Stretch
) -> Audited[list[Difference]]:
    """The records that ClickHouse lacks of the batches that it has acknowledged between these ids.

    The records of the batches are counted, and the log's events of each name between the first and the last that is
    there: before and after, the name may not have been allowed. What has gone from the log since is no difference.
    """
    ids = {"first": stretch.first_id, "last": stretch.last_id}
    ((without,),) = postgres.query(_WITHOUT, sink=sink, **ids)
    held = {row[0]: row[1:] for row in clickhouse.query(_HELD, **ids)}
    ends = {name: [one[place] for one in held.values()] for place, name in ((1, "firsts"), (2, "lasts"))}
    who = forgotten(postgres)
    hidden = {"erasure_key": who.key, "forgotten": list(who.hashes.get("user", ()))}
    parameters = {"without": without, "names": [*held], **ids, **ends, **hidden}
    with postgres.connect() as connection:
        hashed = sql.SQL(in_postgres("user", ("log.user_id",)))
        statement = sql.SQL(_EXPECTED).format(event_logs=postgres.relation(RELATION), hashed=hashed)
        expected: dict[str, int] = dict(connection.execute(statement, parameters).fetchall())
    counts = {name: (count, held[name][0]) for name, count in expected.items()}
    counts["all names"] = (stretch.records, sum(events for events, *_ in held.values()))
    lacking = [
        Difference(name, stretch.first_id, stretch.last_id, want, have)
        for name, (want, have) in counts.items()
        if have < want
    ]
    return Audited(stretch.records, lacking)


# Of events that are no record: refused ones, and ones that have yet to be sent.
_WITHOUT = """
    SELECT coalesce(range_agg(one), '{{}}')::text FROM (
        SELECT int8range(record_key::bigint, record_key::bigint, '[]') AS one FROM analytics_pipeline.dead_letters
        WHERE flow = 'usage_export' AND unit = %(sink)s AND record_key::bigint BETWEEN %(first)s AND %(last)s
        UNION ALL SELECT int8range(first_id, last_id, '[]') FROM analytics_pipeline.event_logs_gaps
        WHERE sink = %(sink)s AND first_id <= %(last)s AND last_id >= %(first)s
    ) AS missing
"""

_HELD = """
    SELECT name, uniqExact(event_log_id), min(event_log_id), max(event_log_id) FROM exported_events
    WHERE event_log_id BETWEEN {first:UInt64} AND {last:UInt64}
    GROUP BY name
"""

_EXPECTED = """
    SELECT log.name, count(*) FROM {event_logs} AS log
    INNER JOIN unnest(%(names)s::text[], %(firsts)s::bigint[], %(lasts)s::bigint[]) AS held (name, first_id, last_id)
        ON held.name = log.name
    WHERE log.id BETWEEN %(first)s AND %(last)s AND log.id BETWEEN held.first_id AND held.last_id
        AND NOT log.id <@ %(without)s::int8multirange
        AND CASE WHEN cardinality(%(forgotten)s::bytea[]) = 0 OR log.user_id IS NULL THEN true
            ELSE {hashed} <> ALL(%(forgotten)s::bytea[]) END
    GROUP BY log.name
"""
