"""All that others read of the export: each sink's state, its backlog and what was asked for of the past."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, TypeAlias

import psycopg

from analytics_pipeline.flows.usage_export import past
from analytics_pipeline.flows.usage_export.deliveries import DeliveryRecord, recent
from analytics_pipeline.flows.usage_export.ledger import State, states
from analytics_pipeline.flows.usage_export.pending import Backlog, backlogs
from analytics_pipeline.resources.postgres import Postgres

Word: TypeAlias = Literal["waiting to begin", "not configured", "paused", "failing", "behind", "up to date"]
NOTHING = Backlog(0, None)


@dataclass(frozen=True)
class SinkStatus:
    """A sink as an operator sees it. `awaited` ids were passed before they were committed, if they ever are.

    `backlog` is counted up to a million. Moments are UTC.
    """

    sink: str
    state: Word
    bookmark_id: int | None
    backlog: int
    oldest_pending_at: datetime | None
    last_success_at: datetime | None
    exported: int
    failed: int
    awaited: int
    consecutive_failures: int
    last_error: str
    next_attempt_at: datetime | None
    past: tuple[str, ...]


@dataclass(frozen=True)
class Figures:
    """For monitoring, per sink: counters since it began, and how things were at `measured_at`; ages in seconds."""

    sink: str
    queue_size: int | None
    oldest_pending_seconds: float | None
    exported_total: int
    failed_total: int
    batch_size: int | None
    last_batch_records: int | None
    last_batch_seconds: float | None
    consecutive_failures: int
    last_success_at: datetime | None
    is_paused: bool
    measured_at: datetime | None


@dataclass(frozen=True)
class Reached:
    """How far a sink is in UTC days: it has every event of those from `first_day`, when it began, to `last_day`.

    Nothing is complete yet when `last_day` is the day before. `updated_at` (UTC) is when the sink last had everything,
    or while events wait when some last arrived; None: none ever did.
    """

    sink: str
    first_day: date
    last_day: date
    today: date
    records: int
    updated_at: datetime | None


@dataclass(frozen=True)
class DeadRecord:
    """An event whose record a sink's receiver will never take, and why; noted at a moment of UTC."""

    sink: str
    event_log_id: int
    reason: str
    recorded_at: datetime
    id: int


Delivery: TypeAlias = DeliveryRecord


def deliveries(postgres: Postgres, sink: str | None, before: int | None, limit: int) -> list[Delivery]:
    """Batches of a sink, or of all, the newest first; only those before the one of this id."""
    return recent(postgres, sink, limit, before)


def dead_records(
    postgres: Postgres, sink: str | None, before: int | None = None, limit: int = 1_000
) -> list[DeadRecord]:
    """The dead letters of a sink, or of all, the newest first; only those before the one of this id."""
    rows = postgres.query(_DEAD, sink=sink, before=before, limit=limit)
    return [DeadRecord(*row) for row in rows]


def statuses(postgres: Postgres, configured: Sequence[str]) -> list[SinkStatus]:
    """The configured sinks in their order, then those that were served once and are configured no more."""
    found, waiting = states(postgres), backlogs(postgres)
    awaited: dict[str, int] = dict(postgres.query(_AWAITED))
    pasts = past.open_ones(postgres)
    names = [*configured, *sorted({*found} - {*configured})]
    return [
        _status(
            name,
            found.get(name),
            waiting.get(name, NOTHING),
            awaited.get(name, 0),
            tuple(f"{one.what}: {one.exported:,} sent" for one in pasts if one.sink == name),
            is_configured=name in configured,
        )
        for name in names
    ]


def figures(postgres: Postgres) -> list[Figures]:
    """The relation `export_figures`, by sink."""
    return [Figures(*row) for row in postgres.query(_FIGURES)]


def reached(postgres: Postgres) -> list[Reached]:
    """How far every sink is that was ever served, by name; a source that is away is taken to have grown."""
    return [Reached(*row) for row in postgres.query(_REACHED, newest=_newest_id(postgres))]


def _newest_id(postgres: Postgres) -> int | None:
    try:
        ((found,),) = postgres.query("SELECT coalesce(max(id), 0) FROM {event_logs}")
    except (psycopg.Error, ConnectionError):
        return None
    return int(found)


def _status(
    name: str, state: State | None, waiting: Backlog, awaited: int, pasts: tuple[str, ...], *, is_configured: bool
) -> SinkStatus:
    if state is None:
        return SinkStatus(name, "waiting to begin", None, 0, None, None, 0, 0, 0, 0, "", None, pasts)
    return SinkStatus(
        name,
        _word(state, waiting, is_configured),
        state.bookmark_id,
        waiting.events,
        waiting.oldest_at,
        state.last_success_at,
        state.exported,
        state.failed,
        awaited,
        state.consecutive_failures,
        state.last_error if state.consecutive_failures else "",
        state.next_attempt_at,
        pasts,
    )


def _word(state: State, waiting: Backlog, is_configured: bool) -> Word:
    if not is_configured:
        return "not configured"
    if state.paused_at is not None:
        return "paused"
    if state.consecutive_failures:
        return "failing"
    return "behind" if waiting.events else "up to date"


_DEAD = """
    SELECT unit, record_key::bigint, reason, recorded_at, id FROM analytics_pipeline.dead_letters
    WHERE flow = 'usage_export' AND (%(sink)s::text IS NULL OR unit = %(sink)s)
        AND (%(before)s::bigint IS NULL OR id < %(before)s)
    ORDER BY id DESC LIMIT %(limit)s
"""

# Of a wide gap it is not known what will come; it is an id that somebody set far ahead.
_AWAITED = """
    SELECT sink, coalesce(sum(last_id - first_id + 1) FILTER (WHERE last_id - first_id < 1000000), 0)::bigint
    FROM analytics_pipeline.event_logs_gaps GROUP BY sink
"""

_FIGURES = """
    SELECT sink, queue_size, oldest_pending_seconds, exported_total, failed_total, batch_size, last_batch_records,
        last_batch_seconds, consecutive_failures, last_success_at, is_paused, measured_at
    FROM analytics_pipeline.export_figures ORDER BY sink
"""

# A sink that has passed the newest event has everything as of now, whenever it was measured; to the minute, so that an
# answer stays the same for a while.
_REACHED = """
    WITH sinks AS (
        SELECT *, (created_at AT TIME ZONE 'UTC')::date AS first_day, (now() AT TIME ZONE 'UTC')::date AS today,
            coalesce(bookmark_id >= %(newest)s, false) AS is_done
        FROM analytics_pipeline.event_logs_scrape_state
    )
    SELECT sink, first_day,
        greatest(first_day - 1, CASE
            WHEN is_done THEN today
            WHEN oldest_pending_at IS NOT NULL THEN (oldest_pending_at AT TIME ZONE 'UTC')::date - 1
            ELSE (measured_at AT TIME ZONE 'UTC')::date
        END),
        today, exported,
        CASE WHEN is_done THEN date_trunc('minute', now()) WHEN queue_size = 0 THEN measured_at ELSE last_success_at END
    FROM sinks ORDER BY sink
"""
