"""The ledger `export_deliveries`: every batch that was sent to a sink, and what became of it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from psycopg.rows import class_row

from analytics_pipeline.flows.usage_export.records import Plan
from analytics_pipeline.resources.postgres import Connection, Postgres

KEPT = timedelta(days=30)
# Of the log as it grows, of ids that were passed before they were committed, or of a history that somebody asked for.
Kind: TypeAlias = Literal["live", "late", "past"]


@dataclass(frozen=True)
class DeliveryRecord:
    """A batch: its events' first and last id, records that the receiver has, those that it will never take, bytes."""

    id: int
    sink: str
    kind: Kind
    first_id: int
    last_id: int
    records: int
    failed: int
    bytes: int
    status: str
    error: str
    attempts: int
    started_at: datetime
    ended_at: datetime | None


def begin(connection: Connection, sink: str, kind: Kind, plan: Plan, past: int | None) -> int:
    """Record that a batch, of a history or of none, is about to be sent to the sink; returns the id of its row."""
    parameters = [sink, kind, plan.first_id, plan.last_id, plan.records, plan.ids, plan.to, past, sink]
    ((delivery,),) = connection.execute(_BEGIN, parameters).fetchall()
    return int(delivery)


def complete(connection: Connection, delivery: int, records: int, failed: int, sent_bytes: int) -> None:
    """Record that the receiver has the batch, but for what it will never take."""
    connection.execute(_COMPLETE, [records, failed, sent_bytes, delivery])


def recent(postgres: Postgres, sink: str | None, limit: int, before: int | None = None) -> list[DeliveryRecord]:
    """The newest deliveries, of one sink or of all, the newest first; only those before the one of this id."""
    with postgres.ledgers.connect() as connection:
        cursor = connection.cursor(row_factory=class_row(DeliveryRecord))
        return cursor.execute(_RECENT, {"sink": sink, "limit": limit, "before": before}).fetchall()


def forget_old(connection: Connection) -> None:
    """Remove what is older than it is kept; a batch on its way stays."""
    connection.execute(_FORGET, [KEPT])


_BEGIN = """
    WITH delivery AS (
        INSERT INTO analytics_pipeline.export_deliveries (sink, kind, first_id, last_id, records, status)
        VALUES (%s, %s, %s, %s, %s, 'sending') RETURNING id
    )
    UPDATE analytics_pipeline.event_logs_scrape_state
    SET planned_delivery = delivery.id, planned_ids = %s, planned_to = %s, planned_past = %s
    FROM delivery WHERE sink = %s RETURNING planned_delivery
"""

_COMPLETE = """
    UPDATE analytics_pipeline.export_deliveries SET
        status = 'delivered', records = %s, failed = %s, bytes = %s, error = '', ended_at = clock_timestamp()
    WHERE id = %s
"""

_RECENT = """
    SELECT id, sink, kind, first_id, last_id, records, failed, bytes, status, error, attempts, started_at, ended_at
    FROM analytics_pipeline.export_deliveries
    WHERE (%(sink)s::text IS NULL OR sink = %(sink)s) AND (%(before)s::bigint IS NULL OR id < %(before)s)
    ORDER BY id DESC LIMIT %(limit)s
"""

_FORGET = """
    DELETE FROM analytics_pipeline.export_deliveries AS old WHERE started_at < now() - %s::interval AND NOT EXISTS (
        SELECT FROM analytics_pipeline.event_logs_scrape_state WHERE planned_delivery = old.id
    )
"""
