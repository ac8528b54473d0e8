"""The ledger `event_logs_export_past`: histories that somebody asked for, each with a bookmark of its own.

They are sent behind the live export: of a name that was allowed later, or of ids that a receiver needs again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from analytics_pipeline.resources.postgres import Connection, Postgres


@dataclass(frozen=True)
class Past:
    """A history: events of `event_name` (None: of every allowed name) after `done_id` up to `until_id`.

    `until_id` is None until work on it begins. Moments are UTC.
    """

    id: int
    sink: str
    event_name: str | None
    done_id: int
    until_id: int | None
    exported: int
    requested_at: datetime
    finished_at: datetime | None

    @property
    def what(self) -> str:
        """For people: which events."""
        if self.event_name is not None:
            return f"past of {self.event_name}"
        return (
            f"replay of {self.done_id + 1} to {self.until_id}" if self.exported == 0 else f"replay to {self.until_id}"
        )


def request(postgres: Postgres, sinks: Sequence[str], names: Sequence[str]) -> None:
    """Ask for the history of these names for each of the sinks; what is under way already is not asked for again."""
    with postgres.ledgers.connect() as connection:
        connection.execute(_REQUEST, {"sinks": list(sinks), "names": list(names)})


def replay(postgres: Postgres, sink: str, first_id: int, last_id: int) -> None:
    """Ask for all allowed events with these ids once more, both ends inclusive."""
    with postgres.ledgers.connect() as connection:
        connection.execute(_REPLAY, [sink, first_id - 1, last_id])


def open_ones(postgres: Postgres) -> list[Past]:
    """Every history that is not finished, in the order of the requests."""
    with postgres.ledgers.connect() as connection:
        cursor = connection.cursor(row_factory=class_row(Past))
        return cursor.execute(f"{_PAST} WHERE finished_at IS NULL ORDER BY id").fetchall()


def begun(connection: Connection, sink: str, allowed: Sequence[str]) -> list[Past]:
    """The sink's histories to work on, of names that the live export of this run lets through.

    One that ends nowhere yet ends where the sink is now, as does one beyond it: the rest is the live export's.
    """
    with connection.transaction():
        cursor = connection.cursor(row_factory=class_row(Past))
        connection.execute(_BEGIN, [sink, list(allowed)])
        return cursor.execute(f"{_PAST}{_OF_SINK}", [sink, list(allowed)]).fetchall()


def finish(connection: Connection, past: Past) -> None:
    """There is nothing more of it."""
    connection.execute(
        "UPDATE analytics_pipeline.event_logs_export_past SET finished_at = clock_timestamp() WHERE id = %s", [past.id]
    )


_PAST = """
    SELECT id, sink, event_name, coalesce(done_id, 0) AS done_id, until_id, exported, requested_at, finished_at
    FROM analytics_pipeline.event_logs_export_past
"""

_OF_SINK = """
    WHERE sink = %s AND finished_at IS NULL AND (event_name IS NULL OR event_name = ANY(%s)) ORDER BY id
"""

_REQUEST = """
    INSERT INTO analytics_pipeline.event_logs_export_past (sink, event_name)
    SELECT sink, name FROM unnest(%(sinks)s::text[]) AS sink CROSS JOIN unnest(%(names)s::text[]) AS name
    WHERE NOT EXISTS (
        SELECT FROM analytics_pipeline.event_logs_export_past AS past
        WHERE past.sink = sink.sink AND past.event_name = name.name AND past.done_id IS NULL AND past.until_id IS NULL
    )
"""

_REPLAY = "INSERT INTO analytics_pipeline.event_logs_export_past (sink, done_id, until_id) VALUES (%s, %s, %s)"

# A batch that is on its way was planned by the allow list as it was then.
_BEGIN = """
    UPDATE analytics_pipeline.event_logs_export_past AS past
    SET until_id = least(past.until_id, greatest(
        state.bookmark_id, CASE WHEN state.planned_past IS NULL THEN state.planned_to END
    ))
    FROM analytics_pipeline.event_logs_scrape_state AS state
    WHERE past.sink = %s AND state.sink = past.sink AND past.finished_at IS NULL
        AND (past.event_name IS NULL OR past.event_name = ANY(%s))
"""
