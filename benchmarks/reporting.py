"""Reporting events copied, rolled up and read, beside what one would do without this project.

    python -m benchmarks.reporting             5,000,000 events of 200 accounts in 13 months
    python -m benchmarks.reporting --events 300000 --accounts 50 --large 300000 --years 3
    python -m benchmarks.reporting --only-reports

All ways work on the same embedded engines, one after the other, and must give the same. The copy runs in a process of
its own, so that its memory can be told from the rest; the memory of rollups is the ClickHouse server's.
"""

import argparse
import multiprocessing
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any

import psutil

from analytics_pipeline.config import Settings
from analytics_pipeline.flows.daily_copy.copy import DayCopy
from analytics_pipeline.flows.reporting.accounts import accounts
from analytics_pipeline.flows.reporting.ledger import account_days
from analytics_pipeline.flows.reporting.rollups import Rollups
from analytics_pipeline.flows.reporting.source import REPORTING_EVENTS
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.connection import connect
from analytics_pipeline.resources.postgres import Postgres, postgres
from benchmarks.memory import peak_memory
from benchmarks.reporting_desk import DAYS, IN_POSTGRES, add_large_account, fill, roll_up_in_postgres
from benchmarks.reporting_reads import ReadBench
from benchmarks.rows import Goal, Row, console, print_rows, seconds_of
from benchmarks.stores import stores

# A year in Postgres takes minutes, and each of its days about as long as any other.
DAYS_IN_POSTGRES = 30
ROUNDS = 9
_DAY = timedelta(days=1)
_SERVER = "analytics_pipeline.embedded.clickhouse_server"


def main() -> None:
    given = _arguments()
    end = datetime.now(timezone.utc).date()
    with stores() as settings, connect(settings, Tag("benchmark", "run")) as clickhouse:
        store = postgres(settings)
        with console.status(f"{given.events:,} events of {given.accounts} accounts …"):
            fill(store, given.events, given.accounts, end)
        # In every zone the day before yesterday is over, and copied to its end.
        bench = Bench(settings, clickhouse, store, given.events, end - 2 * _DAY)
        rows = [*bench.copies(), *bench.rollups()] if given.work else []
        large = add_large_account(store, given.large, given.accounts + 1, end)
        bench.bring_in()
        reads = ReadBench(settings, clickhouse, store, bench.last)
        rows += [*reads.reports(1, given.accounts // 2, large), *reads.refresh(1), *reads.years(large, given.years)]
    print_rows(rows, f"{given.events:,} events of {given.accounts} accounts in {DAYS} days")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--events", type=int, default=5_000_000, help="how many (default: %(default)s)")
    parser.add_argument("--accounts", type=int, default=200, help="of how many (default: %(default)s)")
    parser.add_argument(
        "--large", type=int, default=5_000_000, help="events of one more account, for reports (default: %(default)s)"
    )
    parser.add_argument("--years", type=int, default=10, help="of the longest report (default: %(default)s)")
    parser.add_argument("--only-reports", dest="work", action="store_false", help="no copies and rollups")
    return parser.parse_args()


@dataclass(frozen=True)
class Bench:
    """The stages, each of which works on what the one before left. `last` is the last local day."""

    settings: Settings
    clickhouse: ClickHouse
    postgres: Postgres
    events: int
    last: date

    def copies(self) -> Iterator[Row]:
        """All days in one run, then day by day."""
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as child:
            client = psutil.Process(child.submit(os.getpid).result())

            def copied(days_at_once: int) -> tuple[float, float]:
                with peak_memory(client) as memory, console.status(f"copy, {days_at_once} days at once …"):
                    seconds = child.submit(_copy, self.last + _DAY, days_at_once, self.events).result()
                return seconds, memory.megabytes

            whole, memory = copied(DAYS)
            daily, daily_memory = copied(1)
        goals = [Goal("400,000 rows/s", self.events / whole >= 400_000), Goal("100 MB", memory < 100)]
        yield Row("copy", "all days in one run", whole, f"{self.events / whole:,.0f} rows/s", memory, goals=goals)
        yield Row("copy", "day by day", daily, f"{self.events / daily:,.0f} rows/s", daily_memory, daily / whole)

    def bring_in(self) -> None:
        """All days' events and a year of rollups, for whoever reads."""
        with console.status("events and rollups for the reports …"):
            DayCopy(REPORTING_EVENTS, self.postgres, self.clickhouse, "benchmark").copy(
                self.last - (DAYS - 2) * _DAY, self.last + _DAY
            )
            self._roll_up(365)

    def rollups(self) -> Iterator[Row]:
        """A day, a month and a year, here and in Postgres."""
        (server,) = [child for child in psutil.Process().children() if _SERVER in child.cmdline()]
        for days, longest in ((1, 0.2), (DAYS_IN_POSTGRES, None), (365, 15.0)):
            work, part = f"rollups of {days} days", min(days, DAYS_IN_POSTGRES)
            with peak_memory(server) as memory:
                # What takes a moment is repeated, because the first time is not like the others.
                ours = seconds_of(work, self._roll_up, days, rounds=ROUNDS if days == 1 else 1)
            goals = [Goal(f"{longest:g} s", ours < longest)] if longest else []
            goals += [Goal("1 GB", memory.megabytes < 1_024)] if days == 365 else []
            yield Row(work, "Rollups", ours, f"{days / ours:.1f} days/s", memory.megabytes, goals=goals)
            theirs = seconds_of(work, self._roll_up_in_postgres, part, rounds=ROUNDS if days == 1 else 1) * days / part
            way = "in Postgres" + (f" (from {part} days)" if part < days else "")
            goals = [Goal.at_least(theirs / ours, 10, "Postgres")] if days == 365 else []
            yield Row(work, way, theirs, f"{days / theirs:.1f} days/s", faster=theirs / ours, goals=goals)
        assert self._totals_in_clickhouse() == self._totals_in_postgres()

    def _roll_up(self, days: int) -> None:
        Rollups(self.clickhouse, self.postgres, "benchmark").compute(self._first(days), self.last)

    def _roll_up_in_postgres(self, days: int) -> None:
        wanted = account_days(accounts(self.postgres).zoned, self._first(days), self.last)
        with closing(self.postgres.open(autocommit=True)) as connection:
            roll_up_in_postgres(connection, wanted)

    def _totals_in_clickhouse(self) -> list[tuple[Any, ...]]:
        return self.clickhouse.query(_totals("reporting_rollups FINAL", self._first(DAYS_IN_POSTGRES)))

    def _totals_in_postgres(self) -> list[tuple[Any, ...]]:
        with self.postgres.connect() as connection:
            return connection.execute(_totals(IN_POSTGRES, self._first(DAYS_IN_POSTGRES)).encode()).fetchall()

    def _first(self, days: int) -> date:
        return self.last - (days - 1) * _DAY


def _copy(last: date, days_at_once: int, events: int) -> float:
    """In the process of its own: the seconds that the copy of all days took."""
    settings, day = Settings.load(), last - (DAYS - 1) * _DAY
    with connect(settings, Tag("benchmark", "copy")) as clickhouse:
        copy, copied = DayCopy(REPORTING_EVENTS, postgres(settings), clickhouse, "benchmark"), 0
        began = time.perf_counter()
        while day <= last:
            states = copy.copy(day, day + (days_at_once - 1) * _DAY)
            copied += sum(state.rows for state in states)
            day += days_at_once * _DAY
        seconds = time.perf_counter() - began
    assert copied == events
    return seconds


def _totals(table: str, first: date) -> str:
    counted = "dimension_type, metric, count(*), sum(count), sum(sum_value), sum(sum_value_business_hours)"
    return f"SELECT {counted} FROM {table} WHERE date >= '{first}' GROUP BY 1, 2 ORDER BY 1, 2"


if __name__ == "__main__":
    main()
