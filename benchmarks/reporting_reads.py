"""Reports beside the raw events, beside `SELECT 1`, beside a refresh, and over ten years."""

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, TypeAlias

from analytics_pipeline.config import Settings
from analytics_pipeline.flows.held_days import swap_days
from analytics_pipeline.flows.held_tables import DayTable
from analytics_pipeline.flows.reporting import ledger
from analytics_pipeline.flows.reporting.accounts import accounts
from analytics_pipeline.flows.reporting.reads.conversations import conversation_cells
from analytics_pipeline.flows.reporting.reads.periods import whole
from analytics_pipeline.flows.reporting.reads.query import ReportQuery
from analytics_pipeline.flows.reporting.reads.reading import READ_FLAG, Answer
from analytics_pipeline.flows.reporting.reads.reports import Reports
from analytics_pipeline.flows.reporting.registry import REGISTRY
from analytics_pipeline.flows.reporting.rollups import (
    BOUNDS,
    ROLLUP_COLUMNS,
    Rollups,
    day_bounds_table,
    metric_parameters,
    rollup_select,
)
from analytics_pipeline.flows.reporting.zones import midnight, zone
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.names import quoted
from analytics_pipeline.resources.feature_flags import feature_flags
from analytics_pipeline.resources.postgres import Postgres
from benchmarks.rows import Goal, Row, in_turns, seconds_of

ROUNDS, REFRESHES = 15, 9
_DAY = timedelta(days=1)
Read: TypeAlias = Callable[[Reports, ReportQuery], Answer[Any]]
# As the rollups were kept before: each date a partition that is swapped.
BY_DAY = DayTable("rollups_by_day", "reporting_rollups", day="date", identity="account_id, metric, dimension_id, date")


@dataclass(frozen=True)
class ReadBench:
    """Reads of what was rolled up; `last` is the last local day."""

    settings: Settings
    clickhouse: ClickHouse
    postgres: Postgres
    last: date

    def reports(self, *numbers: int) -> Iterator[Row]:
        """These accounts' questions about a month and a year, from the rollups and from the raw events.

        The last account is the large one.
        """
        for number, days, (name, read) in itertools.product(numbers, (30, 365), _REPORTS.items()):
            work, query = f"{name}, {days} days, account {number}", self._query(number, days)
            ours, seconds, floor = self._read(read, query, rollups=True)
            theirs, longer, _ = self._read(read, query, rollups=False)
            assert (ours.source, theirs.source, ours.value) == ("rollup", "raw", theirs.value)
            is_year, is_large = days == 365, number == numbers[-1]
            goals = [Goal.at_most(seconds / floor, 10, "SELECT 1")] if is_year else []
            yield Row(work, "from rollups", seconds, f"{1 / seconds:.0f} /s", goals=goals)
            goals = [Goal.at_least(longer / seconds, 10, "raw")] if is_year and is_large else []
            yield Row(work, "from raw events", longer, f"{1 / longer:.0f} /s", faster=longer / seconds, goals=goals)
            if read is _summary and is_year:
                by_agent, period = replace(query, dimension="agent"), [whole(query)]
                counted = seconds_of("source", conversation_cells, self.postgres, period, by_agent, rounds=ROUNDS)
                yield Row(work, "of both: the source counts conversations", counted)

    def refresh(self, number: int) -> Iterator[Row]:
        """One day refreshed again and again while an account's year is read; then the same with tables by day."""
        query = self._query(number, 365)
        with self._desk(rollups=True) as desk, _beside(lambda: _series(desk, query)) as reads:
            by_month = seconds_of("refresh by month", self._refresh_by_month, rounds=REFRESHES)
        yield Row("refresh of one day", "by month, reads beside it", by_month, f"{reads[0] / REFRESHES:.1f} reads each")
        self._keep_by_day()
        with _beside(lambda: self.clickhouse.query(_YEAR_BY_DAY, account=number)) as reads:
            by_day = seconds_of("refresh by day", self._refresh_by_day, rounds=REFRESHES)
        goals = [Goal.at_most(by_month / by_day, 1.3, "as long as by day")]
        rate = f"{reads[0] / REFRESHES:.1f} reads each"
        yield Row("refresh of one day", "by day, reads beside it", by_day, rate, goals=goals)

    def years(self, number: int, years: int) -> Iterator[Row]:
        """The large account's year and as many years; earlier ones are the last again, with all their rows."""
        for name, read in _REPORTS.items():
            one = self._read(read, self._query(number, 365), rollups=True)[1]
            yield Row(f"{name}, account {number}", "1 year", one)
        for back in range(1, years):
            self._repeat_year(back)
        # As a minute later: until then each of those months is in several parts.
        for table in ("reporting_rollups", BOUNDS.name):
            self.clickhouse.execute(f"OPTIMIZE TABLE {table} FINAL")
        for name, read in _REPORTS.items():
            one = self._read(read, self._query(number, 365), rollups=True)[1]
            answer, all_, _ = self._read(read, self._query(number, years * 365), rollups=True)
            assert answer.source == "rollup", answer.source
            goals = [Goal.at_most(all_ / one, 5, "of one")]
            yield Row(f"{name}, account {number}", f"{years} years", all_, goals=goals)

    def _query(self, number: int, days: int) -> ReportQuery:
        (account,) = accounts(self.postgres, [number]).zoned
        first = self.last - (days - 1) * _DAY
        since, until = (midnight(day, zone(account.timezone)) for day in (first, self.last + _DAY))
        return ReportQuery(number, since, until)

    @contextmanager
    def _desk(self, *, rollups: bool) -> Iterator[Reports]:
        with self.postgres.connect() as connection:
            connection.execute(_SET_FLAG, [READ_FLAG, rollups])
        with self.postgres.pooled() as store:
            yield Reports(self.clickhouse, store, feature_flags(self.settings, store))

    def _read(self, read: Read, query: ReportQuery, *, rollups: bool) -> tuple[Answer[Any], float, float]:
        """The answer and its seconds, and those of a `SELECT 1` in turns with it."""
        with self._desk(rollups=rollups) as desk:
            answer = read(desk, query)
            seconds, floor = in_turns(
                "reports", lambda: read(desk, query), lambda: self.clickhouse.query("SELECT 1"), rounds=ROUNDS
            )
        return answer, seconds, floor

    def _refresh_by_month(self) -> None:
        Rollups(self.clickhouse, self.postgres, "benchmark").compute(self.last, self.last)

    def _keep_by_day(self) -> None:
        columns = ", ".join(ROLLUP_COLUMNS)
        self.clickhouse.execute(
            f"CREATE TABLE {BY_DAY.name} ENGINE = MergeTree PARTITION BY date"
            " ORDER BY (account_id, metric, dimension_type, dimension_id)"
            f" AS SELECT {columns} FROM reporting_rollups FINAL SETTINGS max_partitions_per_insert_block = 0"
        )

    def _refresh_by_day(self) -> None:
        """The same computation, swapped as a day's partition, with the same ledgers."""
        days = ledger.local_days(accounts(self.postgres).zoned, self.last, self.last)
        sources = ledger.copies(self.postgres, self.last - 2 * _DAY, self.last + 2 * _DAY)
        version = BOUNDS.next_version(self.clickhouse, [self.last])
        with (
            day_bounds_table(self.clickhouse, days, version) as bounds,
            self.clickhouse.staging(BY_DAY.name) as staging,
            self.postgres.ledgers.connect() as connection,
        ):
            self.clickhouse.execute(
                f"INSERT INTO {quoted(staging)} ({', '.join(ROLLUP_COLUMNS)})"
                f" {rollup_select(REGISTRY, quoted(bounds))}",
                starts_at=min(day.bounds.starts_at for day in days),
                ends_at=max(day.bounds.ends_at for day in days),
                computed_at=version,
                **metric_parameters(REGISTRY),
            )
            ledger.forget_others(connection, [self.last], days, REGISTRY)
            swap_days(self.clickhouse, connection, BOUNDS, bounds, [self.last])
            swap_days(self.clickhouse, connection, BY_DAY, staging, [self.last])
            ledger.record(connection, days, sources, REGISTRY, "benchmark")

    def _repeat_year(self, back: int) -> None:
        """The year as it would have been 365 days earlier each time, in ClickHouse and in the ledgers."""
        days = 365 * back
        first = self.last - 364 * _DAY
        for table in ("reporting_rollups", BOUNDS.name):
            self.clickhouse.execute(
                f"INSERT INTO {table} SELECT * REPLACE (date - {days} AS date) FROM {table} AS held FINAL"
                " WHERE held.date BETWEEN {first:Date} AND {last:Date}",
                first=first,
                last=self.last,
            )
        with self.postgres.ledgers.connect() as connection:
            for statement in _EARLIER:
                connection.execute(statement, {"days": days, "first": first, "last": self.last})


@contextmanager
def _beside(read: Callable[[], object]) -> Iterator[list[int]]:
    """Reads one after the other meanwhile; tells how many there were."""
    done, count = threading.Event(), [0]

    def work() -> None:
        while not done.is_set():
            read()
            count[0] += 1

    reader = threading.Thread(target=work)
    reader.start()
    try:
        yield count
    finally:
        done.set()
        reader.join()


def _summary(desk: Reports, query: ReportQuery) -> Answer[Any]:
    return desk.summary(replace(query, dimension="agent"))


def _series(desk: Reports, query: ReportQuery) -> Answer[Any]:
    return desk.timeseries(query, "avg_first_response_time")


_REPORTS: Mapping[str, Read] = {"agents' summary": _summary, "responses by day": _series}

_YEAR_BY_DAY = """
    SELECT date, sum(count), sum(sum_value) FROM rollups_by_day
    WHERE account_id = {account:Int64} AND dimension_type = 'account' AND metric = 'first_response' GROUP BY date
"""

_SET_FLAG = """
    INSERT INTO feature_flags (name, enabled) VALUES (%s, %s)
    ON CONFLICT (name, scope) DO UPDATE SET enabled = excluded.enabled
"""

# Bounds are shifted with their days: the large account's zone is UTC, and no other one is asked about those years.
_EARLIER = (
    """
    INSERT INTO analytics_pipeline.source_copies
        (source, day, rows, newest, refused, horizon, copied_at, swapped_at, run_id)
    SELECT source, day - %(days)s::int, 0, NULL, 0, horizon, copied_at, swapped_at, run_id
    FROM analytics_pipeline.source_copies
    WHERE source = 'reporting_events' AND day BETWEEN %(first)s::date - 1 AND %(last)s
    ON CONFLICT (source, day) DO UPDATE SET swapped_at = excluded.swapped_at
    """,
    """
    INSERT INTO analytics_pipeline.held_days (relation, day, rows, checksum, state, lease)
    SELECT relation, day - %(days)s::int, CASE WHEN relation = 'reporting_events' THEN 0 ELSE rows END, checksum, state,
        lease
    FROM analytics_pipeline.held_days
    WHERE relation IN ('reporting_events', 'reporting_rollups', 'reporting_day_bounds')
        AND day BETWEEN %(first)s::date - 1 AND %(last)s
    ON CONFLICT DO NOTHING
    """,
    """
    INSERT INTO analytics_pipeline.reporting_coverage (
        account_id, date, timezone, starts_at, ends_at, registry_version, complete, source_swapped_at, computed_at,
        run_id
    )
    SELECT account_id, date - %(days)s::int, timezone, starts_at - %(days)s * interval '1 day',
        ends_at - %(days)s * interval '1 day', registry_version, complete, source_swapped_at, computed_at, run_id
    FROM analytics_pipeline.reporting_coverage
    WHERE date BETWEEN %(first)s AND %(last)s
    ON CONFLICT DO NOTHING
    """,
)
