"""Reporting events copied, rolled up and read, beside what one would do without this project.

    python -m benchmarks.reporting             5,000,000 events of 200 accounts in 13 months
    python -m benchmarks.reporting --events 300000 --accounts 50

All ways work on the same embedded engines, one after the other, and must give the same. The copy runs in a process of
its own, so that its memory can be told from the rest; the memory of rollups is the ClickHouse server's.
"""

import argparse
import itertools
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, timezone
from typing import Any, TypeAlias

import psutil
from rich.console import Console
from rich.table import Table

from analytics_pipeline.config import Settings
from analytics_pipeline.flows.daily_copy.copy import DayCopy
from analytics_pipeline.flows.reporting.accounts import accounts
from analytics_pipeline.flows.reporting.coverage import account_days
from analytics_pipeline.flows.reporting.reads.query import ReportQuery
from analytics_pipeline.flows.reporting.reads.reading import READ_FLAG, Answer
from analytics_pipeline.flows.reporting.reads.reports import Reports
from analytics_pipeline.flows.reporting.rollups import Rollups
from analytics_pipeline.flows.reporting.source import REPORTING_EVENTS
from analytics_pipeline.flows.reporting.zones import midnight, zone
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.connection import connect
from analytics_pipeline.resources.feature_flags import feature_flags
from analytics_pipeline.resources.postgres import Postgres, postgres
from benchmarks.memory import peak_memory
from benchmarks.reporting_desk import DAYS, IN_POSTGRES, fill, roll_up_in_postgres
from benchmarks.stores import stores

# A year in Postgres takes minutes, and each of its days about as long as any other.
DAYS_IN_POSTGRES = 30
ROUNDS = 9
_DAY = timedelta(days=1)
_SERVER = "analytics_pipeline.embedded.clickhouse_server"
Read: TypeAlias = Callable[[Reports, ReportQuery], Answer[Any]]
console = Console(width=150)


@dataclass(frozen=True)
class Goal:
    """What was to be reached, and whether it was."""

    text: str
    met: bool

    def __str__(self) -> str:
        return f"{self.text} {'[green]met[/]' if self.met else '[red]not met[/]'}"


@dataclass(frozen=True)
class Row:
    """One way to do a piece of work; ours is `faster` than it by that factor."""

    work: str
    way: str
    seconds: float
    rate: str
    megabytes: float | None = None
    faster: float | None = None
    goals: Sequence[Goal] = ()


def main() -> None:
    given = _arguments()
    end = datetime.now(timezone.utc).date()
    with stores() as settings, connect(settings, Tag("benchmark", "run")) as clickhouse:
        store = postgres(settings)
        with console.status(f"{given.events:,} events of {given.accounts} accounts …"):
            fill(store, given.events, given.accounts, end)
        # In every zone the day before yesterday is over, and copied to its end.
        bench = Bench(settings, clickhouse, store, given.events, end - 2 * _DAY)
        rows = [*bench.copies(), *bench.rollups(), *bench.reports(1, given.accounts // 2)]
    _print(rows, f"{given.events:,} events of {given.accounts} accounts in {DAYS} days")
    # Others' work on the machine makes all of it slower.
    console.print(f"Load over the last 15 minutes: {os.getloadavg()[2]:.1f}, on {os.cpu_count()} processors")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--events", type=int, default=5_000_000, help="how many (default: %(default)s)")
    parser.add_argument("--accounts", type=int, default=200, help="of how many (default: %(default)s)")
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

    def rollups(self) -> Iterator[Row]:
        """A day, a month and a year, here and in Postgres."""
        (server,) = [child for child in psutil.Process().children() if _SERVER in child.cmdline()]
        for days, longest in ((1, 0.2), (DAYS_IN_POSTGRES, None), (365, 15.0)):
            work, part = f"rollups of {days} days", min(days, DAYS_IN_POSTGRES)
            with peak_memory(server) as memory:
                # What takes a moment is repeated, because the first time is not like the others.
                ours = _seconds(work, self._roll_up, days, rounds=ROUNDS if days == 1 else 1)
            goals = [Goal(f"{longest:g} s", ours < longest)] if longest else []
            goals += [Goal("1 GB", memory.megabytes < 1_024)] if days == 365 else []
            yield Row(work, "Rollups", ours, f"{days / ours:.1f} days/s", memory.megabytes, goals=goals)
            theirs = _seconds(work, self._roll_up_in_postgres, part, rounds=ROUNDS if days == 1 else 1) * days / part
            way = "in Postgres" + (f" (from {part} days)" if part < days else "")
            goals = [Goal("8x", theirs / ours >= 8)] if days > 1 else []
            yield Row(work, way, theirs, f"{days / theirs:.1f} days/s", faster=theirs / ours, goals=goals)
        assert self._totals_in_clickhouse() == self._totals_in_postgres()

    def reports(self, *numbers: int) -> Iterator[Row]:
        """What these accounts ask about a month and a year, from the rollups and from the raw events."""
        for number, days, (name, read) in itertools.product(numbers, (30, 365), _REPORTS.items()):
            work, query = f"{name}, {days} days, account {number}", self._query(number, days)
            ours, seconds = self._read(read, query, rollups=True)
            theirs, longer = self._read(read, query, rollups=False)
            assert (ours.source, theirs.source, ours.value) == ("rollup", "raw", theirs.value)
            yield Row(work, "from rollups", seconds, f"{1 / seconds:.0f} /s")
            yield Row(work, "from raw events", longer, f"{1 / longer:.0f} /s", faster=longer / seconds)

    def _roll_up(self, days: int) -> None:
        Rollups(self.clickhouse, self.postgres, "benchmark").compute(self._first(days), self.last)

    def _roll_up_in_postgres(self, days: int) -> None:
        wanted = account_days(accounts(self.postgres).zoned, self._first(days), self.last)
        with closing(self.postgres.open(autocommit=True)) as connection:
            roll_up_in_postgres(connection, wanted)

    def _totals_in_clickhouse(self) -> list[tuple[Any, ...]]:
        return self.clickhouse.query(_totals("reporting_rollups", self._first(DAYS_IN_POSTGRES)))

    def _totals_in_postgres(self) -> list[tuple[Any, ...]]:
        with self.postgres.connect() as connection:
            return connection.execute(_totals(IN_POSTGRES, self._first(DAYS_IN_POSTGRES)).encode()).fetchall()

    def _query(self, number: int, days: int) -> ReportQuery:
        (account,) = accounts(self.postgres, [number]).zoned
        since, until = (midnight(day, zone(account.timezone)) for day in (self._first(days), self.last + _DAY))
        return ReportQuery(number, since, until)

    def _read(self, read: Read, query: ReportQuery, *, rollups: bool) -> tuple[Answer[Any], float]:
        """The answer and its seconds."""
        with self.postgres.connect() as connection:
            connection.execute(_SET_FLAG, [READ_FLAG, rollups])
        desk = Reports(self.clickhouse, self.postgres, feature_flags(self.settings, self.postgres))
        return read(desk, query), _seconds("reports", read, desk, query, rounds=ROUNDS)

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


def _summary(desk: Reports, query: ReportQuery) -> Answer[Any]:
    return desk.summary(replace(query, dimension="agent"))


def _series(desk: Reports, query: ReportQuery) -> Answer[Any]:
    return desk.timeseries(query, "avg_first_response_time")


_REPORTS: Mapping[str, Read] = {"agents' summary": _summary, "responses by day": _series}


def _totals(table: str, first: date) -> str:
    counted = "dimension_type, metric, count(*), sum(count), sum(sum_value), sum(sum_value_business_hours)"
    return f"SELECT {counted} FROM {table} WHERE date >= '{first}' GROUP BY 1, 2 ORDER BY 1, 2"


_SET_FLAG = """
    INSERT INTO feature_flags (name, enabled) VALUES (%s, %s)
    ON CONFLICT (name, scope) DO UPDATE SET enabled = excluded.enabled
"""


def _seconds(what: str, work: Callable[..., object], *arguments: object, rounds: int = 1) -> float:
    """The median of the seconds that the work takes."""
    seconds = []
    with console.status(f"{what} …"):
        for _ in range(rounds):
            began = time.perf_counter()
            work(*arguments)
            seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def _print(rows: Sequence[Row], title: str) -> None:
    table = Table("work", "way", title=title, title_justify="left")
    for heading in ("seconds", "rate", "peak MB", "ours faster"):
        table.add_column(heading, justify="right")
    table.add_column("targets")
    for row in rows:
        memory = "" if row.megabytes is None else f"{row.megabytes:,.0f}"
        faster = "" if row.faster is None else f"{row.faster:.1f}x"
        goals = "\n".join(map(str, row.goals))
        table.add_row(row.work, row.way, f"{row.seconds:.3f}", row.rate, memory, faster, goals)
    console.print(table)


if __name__ == "__main__":
    main()
