"""Figures of product events computed and read, beside the same questions asked of the events themselves.

    python -m benchmarks.product_event_figures      10,000,000 events in three days, as many in the month before
    python -m benchmarks.product_event_figures --events 1000000 --history 1000000

Reads go the whole way: ledger, figures, what has come since, versions. The events answer by one statement each.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any

from analytics_pipeline.flows.days import day_start
from analytics_pipeline.flows.product_events.aggregates.build import Build
from analytics_pipeline.flows.product_events.aggregates.tables import AGGREGATES
from analytics_pipeline.flows.product_events.reads import counts, failures, requests, tasks, users
from analytics_pipeline.flows.product_events.reads.query import EventQuery, last_days
from analytics_pipeline.flows.product_events.reads.reading import Reading
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.connection import connect
from analytics_pipeline.resources.postgres import Postgres, postgres
from benchmarks.rows import Goal, Row, console, in_turns, print_rows, seconds_of
from benchmarks.stores import stores

RETENTION = 90
DAYS, RECENT = 30, 3
_INSERTED_TOGETHER = 1_000_000
_ROUNDS = 3


def main() -> None:
    given = _arguments()
    with stores() as settings, connect(settings, Tag("benchmark", "run")) as clickhouse:
        now = datetime.now(timezone.utc)
        today = now.date()
        with console.status(f"{given.events + given.history:,} events …"):
            recent = today - timedelta(days=RECENT - 1)
            fill(clickhouse, range(given.history), day_start(today - timedelta(days=DAYS - 1)), day_start(recent))
            fill(clickhouse, range(given.history, given.history + given.events), day_start(recent), now)
        with postgres(settings).pooled(1) as store:
            bench = Bench(clickhouse, store, today)
            rows = [*bench.refresh(given.events), *bench.dashboards()]
    print_rows(rows, f"{given.events:,} events in {RECENT} days, {given.history:,} in the {DAYS - RECENT} before")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--events", type=int, default=10_000_000, help="in the last three days (default: %(default)s)")
    parser.add_argument("--history", type=int, default=10_000_000, help="in the 27 before (default: %(default)s)")
    return parser.parse_args()


def fill(clickhouse: ClickHouse, numbers: range, since: datetime, until: datetime) -> None:
    """Events of four organisations, evenly over the time: 40 % requests, 30 % tasks, the rest of other kinds."""
    for start in range(numbers.start, numbers.stop, _INSERTED_TOGETHER):
        number = min(_INSERTED_TOGETHER, numbers.stop - start)
        seconds = int((until - since).total_seconds())
        clickhouse.execute(_EVENTS, start=start, number=number, since=since, seconds=seconds)


@dataclass(frozen=True)
class Bench:
    """What is measured, on stores that hold the events."""

    clickhouse: ClickHouse
    postgres: Postgres
    today: date

    def refresh(self, events: int) -> Iterator[Row]:
        """The hourly refresh of the last three days, the second time: there are figures to replace."""
        first = self.today - timedelta(days=DAYS - 1)
        seconds_of("figures of a month", self._build, first)
        seconds = seconds_of("figures of three days", self._build, self.today - timedelta(days=RECENT - 1))
        # What ClickHouse does by itself within a minute.
        for aggregate in AGGREGATES:
            self.clickhouse.execute(f"OPTIMIZE TABLE {aggregate.name} FINAL")
        yield Row("refresh of three days, ten tables", "ours", seconds, f"{events / seconds:,.0f} events/s")

    def _build(self, first: date) -> None:
        for aggregate in AGGREGATES:
            Build(aggregate, self.clickhouse, self.postgres, "bench", RETENTION).build(first, self.today)

    def dashboards(self) -> Iterator[Row]:
        """Thirty days of one organisation, today among them, and of all of them."""
        for whose, name in ((1, "one organisation"), (None, "all organisations")):
            query = last_days(whose, datetime.now(timezone.utc), DAYS)
            for work, ours, raw in _QUESTIONS:
                yield from self._compared(f"{work}, {name}", ours, raw, query)

    def _compared(self, work: str, ours: "Read", raw: str, query: EventQuery) -> Iterator[Row]:
        mine, theirs = in_turns(work, lambda: ours(self._reading(), query), self._asked(raw, query), rounds=_ROUNDS)
        yield Row(work, "ours", mine, goals=[Goal.at_least(theirs / mine, 10, "the events")])
        yield Row("", "from the events", theirs, faster=theirs / mine)

    def _reading(self) -> Reading:
        return Reading(self.clickhouse, self.postgres, RETENTION, datetime.now(timezone.utc))

    def _asked(self, statement: str, query: EventQuery) -> Callable[[], object]:
        whose = "true" if query.organisation_id is None else f"organisation_id = {query.organisation_id}"
        text = statement.format(
            events=f"analytics_events FINAL WHERE {whose} AND toDate(timestamp) >= {{first:Date}}"
            " AND toDate(timestamp) < {end:Date}",
            settings="SETTINGS do_not_merge_across_partitions_select_final = 1",
        )
        return lambda: self.clickhouse.query(text, first=query.first, end=query.end)


Read = Callable[[Reading, EventQuery], Any]
_QUESTIONS: tuple[tuple[str, Read, str], ...] = (
    (
        "active users by day",
        users.daily,
        "SELECT toDate(timestamp) AS day, uniqExact(user_id), count(user_id) FROM {events} GROUP BY day {settings}",
    ),
    ("active users of the range", users.active, "SELECT uniqExact(user_id) FROM {events} {settings}"),
    (
        "tasks by day",
        tasks.daily,
        "SELECT toDate(timestamp) AS day, countIf(event_type = 'task_created'), countIf(event_type = 'task_failed'),"
        " countIf(event_type = 'task_completed'), avgIf(duration_ms, event_type = 'task_completed'),"
        " quantileIf(0.95)(duration_ms, event_type = 'task_completed')"
        " FROM {events} AND startsWith(event_type, 'task_') GROUP BY day {settings}",
    ),
    (
        "latency by endpoint",
        requests.by_endpoint,
        "SELECT service, endpoint, method, count(), avg(duration_ms), quantiles(0.5, 0.95, 0.99)(duration_ms) AS q"
        " FROM {events} AND event_type = 'api_request' GROUP BY service, endpoint, method ORDER BY q[3] DESC"
        " LIMIT 1000 {settings}",
    ),
    (
        "errors by type",
        failures.summary,
        "SELECT service, error_type, count() AS errors, uniqExact(user_id), argMin(error_message, timestamp)"
        " FROM {events} AND event_type = 'application_error' GROUP BY service, error_type ORDER BY errors DESC"
        " {settings}",
    ),
    (
        "events by type",
        counts.by_type,
        "SELECT event_type, name, service, count() FROM {events} GROUP BY event_type, name, service {settings}",
    ),
)

_EVENTS = """
    INSERT INTO analytics_events (
        organisation_id, event_id, timestamp, received_at, event_type, service, user_id, duration_ms, endpoint, method,
        status_code, provider, success, error_type, error_message
    )
    SELECT
        1 + cityHash64(number, 'organisation') % 4,
        reinterpretAsUUID(reinterpretAsFixedString(toUInt128(number + {start:UInt64}))),
        {since:DateTime64(3, 'UTC')}
            + toIntervalMillisecond(cityHash64(number, {start:UInt64}) % ({seconds:UInt64} * 1000)) AS happened_at,
        happened_at + toIntervalSecond(1),
        ['api_request', 'api_request', 'api_request', 'api_request', 'task_created', 'task_completed', 'task_failed',
            'integration_used', 'auth_login_attempt', 'application_error'][1 + cityHash64(number, 'type') % 10] AS kind,
        ['web', 'worker', 'sync', 'mail', 'search'][1 + cityHash64(number, 'endpoint') % 5],
        if(cityHash64(number, 'user') % 10 = 0, NULL,
            reinterpretAsUUID(reinterpretAsFixedString(toUInt128(cityHash64(number, 'who') % 20000)))),
        if(kind IN ('api_request', 'task_completed'), toInt64(exp(cityHash64(number, 'ms') % 1000 / 100)), NULL),
        if(kind = 'api_request', concat('/v1/resource-', toString(cityHash64(number, 'endpoint') % 20)), ''),
        if(kind = 'api_request', ['GET', 'POST'][1 + number % 2], ''),
        if(kind = 'api_request', [200, 200, 200, 404, 500][1 + cityHash64(number, 'status') % 5], NULL),
        if(kind = 'integration_used', 'github', ''),
        if(kind = 'auth_login_attempt', number % 3 = 0, NULL),
        if(kind = 'application_error', concat('type-', toString(number % 7)), ''),
        if(kind = 'application_error', 'it broke', '')
    FROM numbers({number:UInt64})
    SETTINGS max_partitions_per_insert_block = 100
"""

if __name__ == "__main__":
    main()
