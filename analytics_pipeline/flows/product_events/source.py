"""The table `analytics_events`, which ingestion fills: what it holds of each UTC day, and events as SQL."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone

from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.sql_files import sql_file

EVENTS = "analytics_events"
# Before every event.
ALWAYS = datetime(1970, 1, 1, tzinfo=timezone.utc)
# A day is never in two partitions of events, so each is made final by itself. A group-by of any size goes on disk.
SETTINGS = "SETTINGS do_not_merge_across_partitions_select_final = 1, max_bytes_before_external_group_by = 536870912"


@dataclass(frozen=True)
class SeenDay:
    """Events that the store holds of a UTC day.

    `events` are all; `settled` those received until a moment that the question is about, `newest` the last of these
    (None: there is none); `known` those received until the moment that a ledger knows the day of.
    """

    events: int = 0
    settled: int = 0
    newest: datetime | None = None
    known: int = 0


def rows_by_day(clickhouse: ClickHouse) -> dict[date, int]:
    """Rows of each UTC day, for little: at least as many as events, because repeats may not be merged yet."""
    # Without a condition: this way ClickHouse answers from what it knows of its parts.
    return dict(clickhouse.query(f"SELECT toDate(timestamp) AS day, count() FROM {EVENTS} GROUP BY day"))


def seen_days(
    clickhouse: ClickHouse, days: Sequence[date], until: datetime, known_until: Mapping[date, datetime]
) -> dict[date, SeenDay]:
    """Events of each of the days, as the store holds them; `known_until` is the ledger's moment of each."""
    rows = clickhouse.query(
        sql_file(__package__, "seen_days.sql"),
        days=list(days),
        until=until,
        known_until=[milliseconds(known_until.get(day, ALWAYS)) for day in days],
    )
    found = {day: SeenDay(*rest) for day, *rest in rows}
    return {day: found.get(day, SeenDay()) for day in days}


def events_until() -> str:
    """SQL of the de-duplicated events of days from `first` to `last` that were received up to `until`."""
    return (
        f"(SELECT {_COLUMNS} FROM {EVENTS} FINAL WHERE toDate(timestamp) BETWEEN {{first:Date}} AND {{last:Date}}"
        " AND received_at <= {until:DateTime64(3, 'UTC')})"
    )


def events_after(condition: str) -> str:
    """SQL of the de-duplicated events of `tail_days` that were received after each one's moment in `tail_from`.

    `condition` is about their organisation. Both parameters are arrays of the same length, moments in milliseconds.
    """
    return (
        f"(SELECT {_COLUMNS} FROM {EVENTS} FINAL WHERE {condition} AND toDate(timestamp) IN {{tail_days:Array(Date)}}"
        " AND toUnixTimestamp64Milli(received_at) > arrayElement({tail_from:Array(Int64)},"
        " indexOf({tail_days:Array(Date)}, toDate(timestamp))))"
    )


def milliseconds(moment: datetime) -> int:
    """The moment as `received_at` keeps it, counted from 1970."""
    return (moment - ALWAYS) // timedelta(milliseconds=1)


def has_expired(day: date, today: date, retention_days: int) -> bool:
    """Whether the store may have begun to drop the day's events."""
    return day <= today - timedelta(days=retention_days)


_COLUMNS = (
    "organisation_id, event_id, timestamp, event_type, name, service, user_id, cocoon_id, integration_id, provider,"
    " success, duration_ms, duration_seconds, endpoint, method, status_code, error_type, error_message"
)
