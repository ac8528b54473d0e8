"""The ledger `event_logs_scrape_state`: a row for each sink, with how far it has been served and how that went."""

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from analytics_pipeline.flows.usage_export import gaps
from analytics_pipeline.resources.postgres import Connection, Postgres


@dataclass(frozen=True)
class Sending:
    """A batch on its way: its row in `export_deliveries`, its ids as a multirange, and where it leads.

    `past` is the history that it belongs to; None: the live export.
    """

    delivery: int
    ids: str
    to: int
    past: int | None


@dataclass(frozen=True)
class State:
    """A sink's row. Moments are UTC."""

    sink: str
    bookmark_id: int
    planned_delivery: int | None
    planned_ids: str | None
    planned_to: int | None
    planned_past: int | None
    paused_at: datetime | None
    last_success_at: datetime | None
    last_error: str
    last_error_at: datetime | None
    consecutive_failures: int
    next_attempt_at: datetime | None
    exported: int
    failed: int
    is_due: bool

    @property
    def sending(self) -> Sending | None:
        """The batch that was on its way when the last run ended."""
        if self.planned_delivery is None or self.planned_ids is None or self.planned_to is None:
            return None
        return Sending(self.planned_delivery, self.planned_ids, self.planned_to, self.planned_past)


def is_ready(postgres: Postgres) -> bool:
    """Whether the migrations have made the ledger."""
    ((found,),) = postgres.ledgers.query("SELECT to_regclass('analytics_pipeline.event_logs_scrape_state') IS NOT NULL")
    return bool(found)


def states(postgres: Postgres) -> dict[str, State]:
    """Every sink that was ever served, by name."""
    with postgres.ledgers.connect() as connection:
        rows = connection.cursor(row_factory=class_row(State)).execute(_STATES).fetchall()
    return {one.sink: one for one in rows}


def create(connection: Connection, sink: str, bookmark: int, passed: str, open_until: str) -> bool:
    """Begin a sink after the event `bookmark`, unless it has begun: whether it was begun now.

    `passed` are ids before it that may yet come, as transactions before `open_until` were open.
    """
    with connection.transaction():
        made = connection.execute(_CREATE, [sink, bookmark]).rowcount == 1
        if made:
            gaps.add(connection, sink, passed, open_until)
    return made


def pause(postgres: Postgres, sink: str) -> bool:
    """Send nothing more to the sink until it is resumed; False: it was never served."""
    return _changed(postgres, "SET paused_at = coalesce(paused_at, clock_timestamp())", sink)


def resume(postgres: Postgres, sink: str) -> bool:
    """Serve the sink again, at once also after failures; False: it was never served."""
    return _changed(postgres, "SET paused_at = NULL, next_attempt_at = NULL", sink)


def move(postgres: Postgres, sink: str, bookmark: int) -> None:
    """Let the sink go on after another event; a batch on its way is forgotten, and what was awaited as well."""
    with postgres.ledgers.connect() as connection:
        connection.execute(_ABANDON, ["given up when the bookmark was moved", sink])
        connection.execute(_MOVE_BY_HAND, [bookmark, sink])
        connection.execute("DELETE FROM analytics_pipeline.event_logs_gaps WHERE sink = %s", [sink])


def rename(postgres: Postgres, old: str, new: str) -> None:
    """Let the sink `new` go on where `old` is, with all that is known of `old`; what `new` had begun is given up."""
    names = {"old": old, "new": new}
    with postgres.ledgers.connect() as connection:
        _forget(connection, new)
        for table in _TABLES_BY_SINK:
            connection.execute(
                f"UPDATE analytics_pipeline.{table} SET sink = %(new)s WHERE sink = %(old)s".encode(), names
            )
        connection.execute(_RENAME_LETTERS, names)


def drop(postgres: Postgres, sink: str) -> bool:
    """Forget the sink's bookmark, what it waited for and its dead letters; False: it was never served.

    Its batches stay on record as long as those of others.
    """
    with postgres.ledgers.connect() as connection:
        connection.execute(
            "DELETE FROM analytics_pipeline.dead_letters WHERE flow = 'usage_export' AND unit = %s", [sink]
        )
        return _forget(connection, sink)


def _forget(connection: Connection, sink: str) -> bool:
    connection.execute(_ABANDON, ["given up with the bookmark", sink])
    rows = [
        connection.execute(f"DELETE FROM analytics_pipeline.{table} WHERE sink = %s".encode(), [sink]).rowcount
        for table in _FORGOTTEN
    ]
    return rows[-1] == 1


def _changed(postgres: Postgres, change: str, sink: str) -> bool:
    statement = f"UPDATE analytics_pipeline.event_logs_scrape_state {change} WHERE sink = %s"
    with postgres.ledgers.connect() as connection:
        return connection.execute(statement.encode(), [sink]).rowcount == 1


def state_of(connection: Connection, sink: str, *, hold: bool = False) -> State | None:
    """The sink's row; None: it was never served. With `hold` nobody else changes it in this transaction's time."""
    cursor = connection.cursor(row_factory=class_row(State))
    return cursor.execute(f"{_STATES} WHERE sink = %s {'FOR UPDATE' if hold else ''}".encode(), [sink]).fetchone()


def measured(connection: Connection, sink: str, batch_size: int, queue: int, oldest: datetime | None) -> None:
    """Keep for monitoring how many events wait for the sink, and when the oldest of them happened (UTC)."""
    connection.execute(_MEASURED, [batch_size, queue, oldest, sink])


_STATES = """
    SELECT sink, bookmark_id, planned_delivery, planned_ids::text, planned_to, planned_past, paused_at, last_success_at,
        last_error, last_error_at, consecutive_failures, next_attempt_at, exported, failed,
        paused_at IS NULL AND coalesce(next_attempt_at <= clock_timestamp(), true) AS is_due
    FROM analytics_pipeline.event_logs_scrape_state
"""

_CREATE = """
    INSERT INTO analytics_pipeline.event_logs_scrape_state (sink, bookmark_id) VALUES (%s, %s) ON CONFLICT DO NOTHING
"""

_ABANDON = """
    UPDATE analytics_pipeline.export_deliveries SET
        status = 'failed', error = %s, ended_at = clock_timestamp()
    WHERE id = (SELECT planned_delivery FROM analytics_pipeline.event_logs_scrape_state WHERE sink = %s)
"""

_MOVE_BY_HAND = """
    UPDATE analytics_pipeline.event_logs_scrape_state SET
        bookmark_id = %s, planned_delivery = NULL, planned_ids = NULL, planned_to = NULL, planned_past = NULL
    WHERE sink = %s
"""

_MEASURED = """
    UPDATE analytics_pipeline.event_logs_scrape_state SET
        batch_size = %s, queue_size = %s, oldest_pending_at = %s, measured_at = clock_timestamp()
    WHERE sink = %s
"""

# The row of the sink comes last.
_FORGOTTEN = ("event_logs_gaps", "event_logs_export_past", "event_logs_scrape_state")
_TABLES_BY_SINK = (*_FORGOTTEN, "export_deliveries")

# A record that neither could be given stays one dead letter.
_RENAME_LETTERS = """
    WITH gone AS (
        DELETE FROM analytics_pipeline.dead_letters AS newer USING analytics_pipeline.dead_letters AS older
        WHERE newer.flow = 'usage_export' AND newer.unit = %(new)s AND older.flow = 'usage_export'
            AND older.unit = %(old)s AND older.record_key = newer.record_key
    )
    UPDATE analytics_pipeline.dead_letters SET unit = %(new)s WHERE flow = 'usage_export' AND unit = %(old)s
"""
