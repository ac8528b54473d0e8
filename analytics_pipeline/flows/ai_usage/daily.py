"""Events → daily figures: counted anew from de-duplicated events, each day swapped as a whole, never added to."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from analytics_pipeline.flows.ai_usage.registry import events_of
from analytics_pipeline.flows.ai_usage.source import CODE_SUGGESTION_EVENTS, DUO_CHAT_EVENTS, SOURCES
from analytics_pipeline.flows.days import by_month
from analytics_pipeline.flows.guards import require_room
from analytics_pipeline.flows.held_days import lose_days, lost_days, note_losses, swap_days
from analytics_pipeline.flows.held_tables import MonthTable
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.errors import is_transient, retrying
from analytics_pipeline.resources.clickhouse.names import quoted
from analytics_pipeline.resources.postgres import Connection, Postgres
from analytics_pipeline.resources.sql_files import sql_file

FIGURES = MonthTable(
    "ai_usage_daily",
    key=("namespace_path", "feature", "event", "user_id", "language", "date"),
    lease="ai_usage_daily",
)
# Above this the group-by goes on disk: memory stays bounded for days of any size.
_SPILL_BYTES = 256 * 1024 * 1024
# A skipped build would cost its history an attempt; what takes longer than this is broken.
_PATIENCE = timedelta(minutes=10)


@dataclass(frozen=True)
class DailyUsage:
    """Builds days of `ai_usage_daily` on behalf of one run."""

    clickhouse: ClickHouse
    postgres: Postgres
    run_id: str

    def build(self, first: date, last: date) -> dict[date, int]:
        """Replace the days, both ends inclusive, by what their events are now; returns how many rows each has.

        Raises:
            DiskFull, TooManyParts: a guard stopped it; finished months stay.
            LeaseHeld: another run did not finish its build within ten minutes; finished months stay.
        """
        found: dict[date, int] = {}
        for days in by_month(first, last):
            require_room(self.clickhouse, FIGURES.name)
            with self.postgres.lease(FIGURES.lease, patience=_PATIENCE):
                found |= retrying(self.clickhouse.attempts, is_transient)(self._build, days)
        return found

    def _build(self, days: Sequence[date]) -> dict[date, int]:
        """Replace neighbouring days of one month."""
        with self.clickhouse.staging(FIGURES.name) as staging:
            uncountable = self._lost_events().intersection(days)
            ((built_at,),) = self.postgres.ledgers.query("SELECT now()")
            computed_at = FIGURES.next_version(self.clickhouse, days)
            self._count(staging, days, computed_at)
            with self.postgres.ledgers.connect() as ledger:
                contents = swap_days(self.clickhouse, ledger, FIGURES, staging, days)
                found = {day: content.rows or 0 for day, content in zip(days, contents, strict=True)}
                self._record(ledger, found, built_at)
                lose_days(ledger, FIGURES, uncountable)
        return found

    def _lost_events(self) -> set[date]:
        """Days of which ClickHouse no longer holds the events that were copied: their figures would say too little."""
        held = [source.held for source in SOURCES]
        for table in held:
            note_losses(self.postgres, self.clickhouse, table)
        return set[date]().union(*(lost_days(self.postgres, table) for table in held))

    def _count(self, staging: str, days: Sequence[date], computed_at: datetime) -> None:
        chat, code = events_of("chat"), events_of("code_suggestions")
        # Once: sent again after a lost answer it would count all events again. The build is tried anew.
        replace(self.clickhouse, attempts=1).execute(
            sql_file(
                __package__,
                "daily.sql",
                STAGING=quoted(staging),
                CHAT=quoted(DUO_CHAT_EVENTS.table),
                CODE=quoted(CODE_SUGGESTION_EVENTS.table),
                SPILL=str(_SPILL_BYTES),
            ),
            chat_ids=list(chat),
            chat_names=[event.name for event in chat.values()],
            code_ids=list(code),
            code_names=[event.name for event in code.values()],
            first=days[0],
            last=days[-1],
            computed_at=computed_at,
        )

    def _record(self, ledger: Connection, rows: dict[date, int], built_at: datetime) -> None:
        ledger.cursor().executemany(_RECORD, [[day, count, built_at, self.run_id] for day, count in rows.items()])


_RECORD = """
    INSERT INTO analytics_pipeline.ai_usage_days (day, rows, built_at, run_id) VALUES (%s, %s, %s, %s)
    ON CONFLICT (day) DO UPDATE SET rows = excluded.rows, built_at = excluded.built_at, run_id = excluded.run_id
"""
