"""The product's event log: what is read of it, where it ends, and which transactions may still write into it."""

import math
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from analytics_pipeline.flows.contract import COLUMNS, found_columns, reading
from analytics_pipeline.flows.usage_export.errors import NoSuchEvent
from analytics_pipeline.resources.postgres import Connection, Postgres
from analytics_pipeline.resources.sql_files import sql_file

RELATION = "event_logs"
BATCH_SIZE, LARGEST_BATCH = 1_000, 100_000
# The largest id that a range can hold: its end is the next one.
LARGEST_ID = 2**63 - 2


def event_logs(postgres: Postgres) -> sql.Composed:
    """A sub-select of the columns that the export reads, each as the contract's type; `argument` is none of them."""
    found = found_columns(postgres, [RELATION])[RELATION]
    columns = sql.SQL(", ").join(_column(name, found[name].type if name in found else "") for name in COLUMNS[RELATION])
    return sql.SQL("(SELECT {} FROM {} AS original)").format(columns, postgres.relation(RELATION))


def _column(name: str, type_: str) -> sql.Composed:
    # A column that is missing is left for the statement to name.
    one = reading(RELATION, name, type_)
    value = sql.SQL((one.cast if one else "") or "{0}").format(sql.Identifier("original", name))
    return sql.SQL("{} AS {}").format(value, sql.Identifier(name))


def batch_size(postgres: Postgres) -> int:
    """Records in a batch, as the newest application settings say; what they do not say right is the default."""
    rows = postgres.query(_SETTINGS)
    section = rows[0][0] if rows else None
    size = section.get("batchSize") if isinstance(section, dict) else None
    if isinstance(size, bool) or not isinstance(size, int | float) or not math.isfinite(size) or size < 1:
        return BATCH_SIZE
    return min(int(size), LARGEST_BATCH)


# A product whose settings have no such column has said nothing.
_SETTINGS = """
    SELECT to_jsonb(settings) -> 'export_usage_telemetry' FROM {application_settings} AS settings
    ORDER BY id DESC LIMIT 1
"""


@dataclass(frozen=True)
class Newest:
    """The newest committed event's id, 0 when there is none; transactions before `open_until` may still be open."""

    id: int
    open_until: str


def newest(connection: Connection, postgres: Postgres) -> Newest:
    """Where the event log ends at this moment."""
    statement = "SELECT coalesce(max(id), 0), pg_snapshot_xmax(pg_current_snapshot())::text FROM {} WHERE id <= %s"
    row = connection.execute(sql.SQL(statement).format(postgres.relation(RELATION)), [LARGEST_ID]).fetchone()
    assert row is not None
    return Newest(*row)


def recent_gaps(connection: Connection, postgres: Postgres, before: int) -> str:
    """The ids that are missing among the newest events up to `before`, as a multirange; younger ones may yet come."""
    statement = sql.SQL(sql_file(__package__, "recent_gaps.sql")).format(event_logs=postgres.relation(RELATION))
    ((gaps,),) = connection.execute(statement, {"before": before}).fetchall()
    return str(gaps)


def first_id_since(postgres: Postgres, moment: datetime) -> int:
    """The id of the first event at or after `moment`.

    Raises:
        NoSuchEvent: there is none.
    """
    ((found,),) = postgres.query("SELECT min(id) FROM {event_logs} WHERE timestamp >= %(moment)s", moment=moment)
    if found is None:
        raise NoSuchEvent(f"there is no event since {moment:%Y-%m-%d %H:%M} UTC; nothing was changed")
    return int(found)


def last_id_before(postgres: Postgres, moment: datetime) -> int:
    """The id of the last event before `moment`.

    Raises:
        NoSuchEvent: there is none.
    """
    ((found,),) = postgres.query("SELECT max(id) FROM {event_logs} WHERE timestamp < %(moment)s", moment=moment)
    if found is None:
        raise NoSuchEvent(f"there is no event before {moment:%Y-%m-%d %H:%M} UTC; nothing was changed")
    return int(found)


@dataclass(frozen=True)
class Blocker:
    """A transaction that may still add events with ids that were passed: who holds it open, and since when (UTC)."""

    pid: int | None
    name: str
    since: datetime | None


def blockers(postgres: Postgres) -> list[Blocker]:
    """Open transactions of others that may have written into the event log, the oldest first."""
    with postgres.connect() as connection:
        # Its plan takes the locks of all tables that the relation is made of.
        connection.execute(sql.SQL("EXPLAIN SELECT id FROM {}").format(postgres.relation(RELATION)))
        return [Blocker(*row) for row in connection.execute(sql_file(__package__, "blockers.sql"))]
