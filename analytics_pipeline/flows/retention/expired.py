"""Rows of our own schema in Postgres that expire: only those that nobody needs to do work once and no more.

Ledgers that vouch for what is kept for ever are kept for ever: `source_copies`, `held_days`, `reporting_coverage`,
`ai_usage_days`, `product_event_days`. Without its row a day would be brought in again, or no longer be read. So are
`enablements`, one of which is why a history is not brought in twice, and the bookmarks of the export.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from typing_extensions import LiteralString

from analytics_pipeline.resources.postgres import Postgres

# Longer than anybody looks back at, and no shorter than the snapshots that they vouch for.
LEDGER_DAYS = 400
# Rows removed by one statement: no lock lasts.
_BATCH = 10_000


@dataclass(frozen=True)
class Expiring:
    """Rows of a table of ours that go when their `moment` is so many days back."""

    table: str
    moment: LiteralString
    days: int
    unless: LiteralString = "false"


def expiring(dead_letter_days: int, snapshot_days: int) -> tuple[Expiring, ...]:
    """All that expires, by the settings DEAD_LETTER_RETENTION_DAYS and IDENTITY_SNAPSHOT_RETENTION_DAYS."""
    ledger_days = max(LEDGER_DAYS, snapshot_days + 7)
    return (
        # A letter is written again when its day is copied again, or its record sent again.
        Expiring("dead_letters", "recorded_at", dead_letter_days),
        # They vouch for snapshots, which are gone by then. A load of an older day begins anew, from the landing zone.
        Expiring("identity_loads", "snapshot_date", ledger_days),
        # The newest one of a project tells whether its segments have changed since.
        Expiring("segment_refreshes", "snapshot_date", ledger_days, _NEWEST_REFRESH),
        # Whoever looks for a token that ended last year has its name in the product's own records.
        Expiring("api_tokens", "coalesce(revoked_at, expires_at)", LEDGER_DAYS),
        # What was asked for again and was sent; what is still to be sent has no end.
        Expiring("event_logs_export_past", "finished_at", LEDGER_DAYS),
        # A failing one is repaired, and looked at, long before. Of a snapshot that has gone nobody can repair it.
        Expiring("check_outcomes", "checked_at", LEDGER_DAYS),
        Expiring("check_outcomes", "day", snapshot_days + 2, "flow <> 'identities'"),
    )


def remove_expired(postgres: Postgres, expiring: tuple[Expiring, ...]) -> Mapping[str, int]:
    """Remove what has expired, in small transactions; returns how many rows of each table went."""
    removed = dict.fromkeys((one.table for one in expiring), 0)
    for one in expiring:
        removed[one.table] += _remove(postgres, one)
    return removed


def _remove(postgres: Postgres, one: Expiring) -> int:
    removed = 0
    while True:
        with postgres.ledgers.connect() as connection:
            statement = _REMOVE.format(table=one.table, moment=one.moment, unless=one.unless)
            gone = connection.execute(statement.encode(), {"days": one.days, "batch": _BATCH}).rowcount
        removed += gone
        if gone < _BATCH:
            return removed


_REMOVE = """
    DELETE FROM analytics_pipeline.{table} WHERE ctid = ANY(ARRAY(
        SELECT old.ctid FROM analytics_pipeline.{table} AS old
        WHERE {moment} < now() - make_interval(days => %(days)s) AND NOT ({unless})
        LIMIT %(batch)s
    ))
"""
_NEWEST_REFRESH: LiteralString = """
    NOT EXISTS (
        SELECT FROM analytics_pipeline.segment_refreshes AS later
        WHERE later.project_id = old.project_id AND later.snapshot_date > old.snapshot_date
    )
"""
