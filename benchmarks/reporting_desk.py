"""What the reporting benchmark works on, and how a product rolls the same events up inside its own Postgres."""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta, timezone

from psycopg.types.json import Jsonb

from analytics_pipeline.flows.reporting.ledger import AccountDay
from analytics_pipeline.flows.reporting.registry import REGISTRY, Payload
from analytics_pipeline.flows.reporting.zones import canonical, zone_names
from analytics_pipeline.resources.postgres import Connection, Postgres
from benchmarks.stores import unhurried

DAYS = 396
IN_POSTGRES = "rollups_in_postgres"
# By how often they happen: of ten events five are replies.
_KINDS = (
    *["reply_time"] * 10,
    *["first_response"] * 4,
    *["conversation_resolved"] * 4,
    "conversation_bot_resolved",
    "conversation_bot_handoff",
)
AGENTS_OF_AN_ACCOUNT, INBOXES_OF_AN_ACCOUNT = 20, 5


def fill(postgres: Postgres, events: int, accounts: int, end: date) -> None:
    """Events of the `DAYS` days before `end`, the same on every run; account 1 has the most, the last one the least."""
    zones = sorted({canonical(name) for name in zone_names() if "/" in name})
    with unhurried(postgres) as connection:
        connection.execute("CREATE INDEX ON reporting_events (account_id, created_at)")
        connection.cursor().executemany(
            "INSERT INTO accounts (id, name, settings) VALUES (%s, %s, %s)",
            [
                (number, f"Account {number}", Jsonb({"reporting_timezone": zones[number % len(zones)]}))
                for number in range(1, accounts + 1)
            ],
        )
        connection.execute(_EVENTS, _chances(events, 1, accounts, end))
        connection.execute(_CONVERSATIONS, {"first": 1})
        connection.execute(_ROLLUP_TABLE)
        connection.execute("VACUUM ANALYZE")


def add_large_account(postgres: Postgres, events: int, number: int, end: date) -> int:
    """One more account, whose events are as those of the others; returns its number."""
    with unhurried(postgres) as connection:
        connection.execute(
            "INSERT INTO accounts (id, name, settings) VALUES (%s, 'Large', %s)",
            [number, Jsonb({"reporting_timezone": "Etc/UTC"})],
        )
        connection.execute(_EVENTS, _chances(events, number, 1, end))
        connection.execute(_CONVERSATIONS, {"first": number})
        connection.execute("VACUUM ANALYZE")
    return number


def _chances(events: int, first: int, accounts: int, end: date) -> dict[str, object]:
    return {
        "events": events,
        "first": first,
        "accounts": accounts,
        "kinds": list(_KINDS),
        "inboxes": INBOXES_OF_AN_ACCOUNT,
        "agents": AGENTS_OF_AN_ACCOUNT,
        "start": datetime.combine(end, time(), timezone.utc) - timedelta(days=DAYS),
        "step": timedelta(days=DAYS) / events,
    }


def roll_up_in_postgres(connection: Connection, days: Sequence[AccountDay]) -> None:
    """Each account's day in a transaction of its own: its rows deleted, then inserted dimension by dimension."""
    metrics = {
        "metrics": [metric.name for metric in REGISTRY.metrics],
        "events": [metric.event for metric in REGISTRY.metrics],
        "durations": [metric.payload is Payload.DURATION for metric in REGISTRY.metrics],
        "distinct": [metric.payload is Payload.DISTINCT_CONVERSATIONS for metric in REGISTRY.metrics],
    }
    for day in days:
        parameters = {"account": day.account.id, "date": day.date, "start": day.bounds.starts_at, **metrics}
        with connection.transaction():
            connection.execute(_DELETE, parameters)
            for statement in _INSERTS:
                connection.execute(statement, parameters | {"end": day.bounds.ends_at})


_EVENTS = """
    INSERT INTO reporting_events (
        name, value, value_in_business_hours, account_id, inbox_id, user_id, conversation_id,
        event_start_time, event_end_time, created_at, updated_at
    )
    SELECT
        (%(kinds)s::text[])[1 + floor(kind * cardinality(%(kinds)s::text[]))::int], seconds, floor(seconds * 0.6),
        account, account * 100 + floor(inbox * %(inboxes)s)::int,
        CASE WHEN agent < 0.9 THEN account * 100 + floor(agent * %(agents)s)::int END, number / 5,
        happened - seconds * interval '1 second', happened, happened, happened
    FROM (
        SELECT
            number, kind, inbox, agent, floor(length * 86400) AS seconds,
            %(first)s + floor(size * size * %(accounts)s)::bigint AS account,
            %(start)s::timestamptz + (number - offset_) * %(step)s AS happened
        FROM (
            SELECT
                number,
                (hashint8extended(number, 1) & 1048575) / 1048576::float AS kind,
                (hashint8extended(number, 2) & 1048575) / 1048576::float AS inbox,
                (hashint8extended(number, 3) & 1048575) / 1048576::float AS agent,
                (hashint8extended(number, 4) & 1048575) / 1048576::float AS length,
                (hashint8extended(number, 5) & 1048575) / 1048576::float AS size,
                (hashint8extended(number, 6) & 1048575) / 1048576::float AS offset_
            FROM generate_series(1, %(events)s) AS number
        ) AS chance
    ) AS event
"""

_CONVERSATIONS = """
    INSERT INTO conversations (id, account_id, inbox_id, assignee_id, created_at)
    SELECT id, account_id, inbox_id, user_id, created_at FROM reporting_events
    WHERE name = 'first_response' AND account_id >= %(first)s
"""

_ROLLUP_TABLE = """
    CREATE TABLE rollups_in_postgres (
        account_id bigint, date date, dimension_type text, dimension_id bigint, metric text, count bigint,
        sum_value double precision, sum_value_business_hours double precision,
        PRIMARY KEY (account_id, date, dimension_type, dimension_id, metric)
    )
"""

_DELETE = "DELETE FROM rollups_in_postgres WHERE account_id = %(account)s AND date = %(date)s"

_INSERT = """
    INSERT INTO rollups_in_postgres
    SELECT
        %(account)s, %(date)s, '{name}', {column}, metric,
        CASE WHEN is_distinct THEN count(DISTINCT conversation_id) ELSE count(*) END,
        CASE WHEN is_duration THEN sum(coalesce(value, 0)) ELSE 0 END,
        CASE WHEN is_duration THEN sum(coalesce(value_in_business_hours, 0)) ELSE 0 END
    FROM reporting_events
    JOIN unnest(%(metrics)s::text[], %(events)s::text[], %(durations)s::bool[], %(distinct)s::bool[])
        AS entry (metric, event, is_duration, is_distinct) ON name = event
    WHERE account_id = %(account)s AND created_at >= %(start)s AND created_at < %(end)s AND {column} IS NOT NULL
    GROUP BY {column}, metric, is_duration, is_distinct
"""
_INSERTS = [_INSERT.format(name=dimension.name, column=dimension.column).encode() for dimension in REGISTRY.dimensions]
