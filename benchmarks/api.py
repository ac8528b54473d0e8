"""The read API and the dashboard as they are served, over HTTP, under load, on large stores.

    python -m benchmarks.api            5,000,000 reporting events, 5,000,000 more of one account, 2,000,000 identities,
                                        10,000,000 product events
    python -m benchmarks.api --small    a hundredth of it, 2 seconds of each load: whether all of it works

The service is `analytics-pipeline serve` in a process of its own. Answers come uncached at 20 and 100 requests a
second; those that have a version also as 304 at 100. A request is measured from when it was due, so that a queue
counts. Reports are asked for from rollups and, with the flag off, from raw events.
"""

import argparse
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from http import HTTPStatus
from urllib.parse import urlencode

from rich.table import Table

from analytics_pipeline.api import tokens
from analytics_pipeline.flows.reporting.reads.reading import READ_FLAG
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.clickhouse.connection import connect
from analytics_pipeline.resources.postgres import Postgres, postgres
from benchmarks.api_desk import EVENT_DAYS, PROJECT, Sizes, prepare, switch
from benchmarks.api_load import Answered, Client
from benchmarks.rows import Goal, console
from benchmarks.stores import stores

RATES, UNCHANGED_RATE = (20, 100), 100
YEAR = 365
ROUNDS = 5
# Targets, in seconds: p99 of a report of a year at 20 a second, p99 of a 304, a whole page.
REPORT, UNCHANGED, PAGE, FASTER = 0.050, 0.005, 1.0, 10
_PAGE_PARTS = ("/static/style.css", "/static/live.js")
_START_SECONDS = 60.0


@dataclass(frozen=True)
class Endpoint:
    """A question of the API. `is_report`: of a year, from rollups, whose speed is promised."""

    name: str
    path: str
    is_report: bool = False


def main() -> None:
    given = _arguments()
    sizes = Sizes(given.events, given.accounts, given.large, given.identities, given.product_events)
    today = datetime.now(timezone.utc).date()
    with stores() as settings:
        with connect(settings, Tag("benchmark", "run")) as clickhouse:
            prepare(settings, clickhouse, sizes, today)
        store = postgres(settings)
        with served(tokens.create(store, "benchmark", "read").secret) as client:
            console.print(loaded(client, endpoints(sizes, today), given.seconds, str(sizes)))
            console.print(compared(client, store, endpoints(sizes, today)))
            console.print(shown(client, sizes))
    console.print(f"Load over the last 15 minutes: {os.getloadavg()[2]:.1f}, on {os.cpu_count()} processors")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    part = 100 if "--small" in sys.argv else 1
    for name, many, what in (
        ("events", 5_000_000, "reporting events"),
        ("accounts", 200, "accounts that have them"),
        ("large", 5_000_000, "reporting events of one more account"),
        ("identities", 2_000_000, "identities"),
        ("product-events", 10_000_000, "product events"),
    ):
        parser.add_argument(f"--{name}", type=int, default=many // part, help=f"{what} (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10 if part == 1 else 2, help="of each load")
    parser.add_argument("--small", action="store_true", help="a hundredth of everything")
    return parser.parse_args()


@contextmanager
def served(token: str) -> Iterator[Client]:
    """The service over the stores of the environment, and a client with the token."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    own = {
        "API_REQUESTS_PER_MINUTE": "1000000",
        "API_REQUESTS_PER_DAY": "1000000000",
        "DASHBOARD_SECRET": secrets.token_hex(16),
    }
    command = [sys.executable, "-m", "analytics_pipeline", "serve", "--port", str(port)]
    service = subprocess.Popen(command, env={**os.environ, **own})
    try:
        client = Client(port, {"Authorization": f"Bearer {token}"})
        _await(client, service)
        yield client
    finally:
        # What it still answers is of no use.
        service.kill()
        service.wait()


def _await(client: Client, service: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        assert service.poll() is None, "the service has ended by itself"
        try:
            client.get("/health")
        except OSError:
            assert time.monotonic() < deadline, f"the service did not answer in {_START_SECONDS:.0f} s"
            time.sleep(0.1)
        else:
            return


def endpoints(sizes: Sizes, today: date) -> list[Endpoint]:
    """Everything that is asked for: reports of a year of a middling and of the large account, and the rest."""
    end = today - timedelta(days=2)
    year = {"since": f"{end - timedelta(days=YEAR)}T00:00:00Z", "until": f"{end}T00:00:00Z"}
    reports = {
        "reports/resolutions_count": {},
        "reports/avg_first_response_time/timeseries": {},
        "overview": {},
        "bot-summary": {},
        "summary": {"dimension": "agent"},
        "reports/avg_first_response_time/share": {"target_seconds": "3600"},
    }
    found = [
        Endpoint(f"{name}, {whose} account", _path(f"accounts/{account}/{name}", {**year, **more}), is_report=True)
        for account, whose in ((sizes.accounts // 2, "middling"), (sizes.large_account, "large"))
        for name, more in reports.items()
    ]
    behind = f"accounts/{sizes.large_account}/reports/resolutions_count/events"
    return [*found, Endpoint("events behind a figure", _path(behind, year)), *_of_segments(today), *_of_events(today)]


def _of_segments(today: date) -> Iterator[Endpoint]:
    project, environment = f"projects/{PROJECT.first}", PROJECT.first * 10_000 + 1
    segment = PROJECT.first * 100_000 + 3
    days = {"from": str(today - timedelta(days=EVENT_DAYS - 1)), "to": str(today)}
    yield Endpoint("segments", _path(f"{project}/segments"))
    yield Endpoint("a segment's counts", _path(f"{project}/segments/{segment}/counts", days))
    yield Endpoint("segment movers", _path(f"{project}/segment-movers", days))
    yield Endpoint("a segment's members", _path(f"{project}/segments/{segment}/members", {"environment": environment}))
    yield Endpoint("an identity's segments", _path(f"{project}/environments/{environment}/identities/user-1/segments"))


def _of_events(today: date) -> Iterator[Endpoint]:
    days = {"from": str(today - timedelta(days=EVENT_DAYS - 1)), "to": str(today)}
    for name in ("users/daily", "tasks/daily", "counts", "api/latency", "auth/daily", "errors/hourly"):
        yield Endpoint(f"product events: {name}", _path(f"organisations/1/events/{name}", days))
    for name in ("overview", "api/slowest"):
        yield Endpoint(f"product events: {name}", _path(f"organisations/1/events/{name}"))
    yield Endpoint("product events themselves", _path("organisations/1/events", days))
    yield Endpoint("freshness", _path("pipeline/freshness"))


def _path(path: str, parameters: Mapping[str, object] | None = None) -> str:
    return f"/v1/{path}" + (f"?{urlencode(parameters)}" if parameters else "")


def loaded(client: Client, asked: list[Endpoint], seconds: float, title: str) -> Table:
    """Each endpoint at each rate; those with a version also as 304."""
    table = Table("endpoint", "answer", title=title, title_justify="left")
    for heading in ("rate", "p50 ms", "p99 ms", "answered"):
        table.add_column(heading, justify="right")
    table.add_column("target")
    for one in asked:
        with console.status(f"{one.name} …"):
            first = client.get(one.path)
            assert first.status == HTTPStatus.OK, f"{one.path}: {first.status} {first.body[:300]!r}"
            for rate in RATES:
                found = client.paced(one.path, rate, seconds, expected=200)
                goal = _within(found, REPORT) if one.is_report and rate == RATES[0] else None
                _add(table, one.name, f"{len(first.body) / 1000:,.1f} kB", rate, found, goal)
            tag = first.headers.get("etag", "")
            # A weak one is made of the answer, which is computed first.
            if tag and not tag.startswith("W/"):
                found = client.paced(one.path, UNCHANGED_RATE, seconds, expected=304, **{"If-None-Match": tag})
                _add(table, one.name, "304", UNCHANGED_RATE, found, _within(found, UNCHANGED))
    return table


def _within(found: Answered, seconds: float) -> Goal:
    return Goal(f"p99 at most {seconds * 1000:.0f} ms:", found.quantile(0.99) <= seconds)


def _add(table: Table, name: str, what: str, rate: int, found: Answered, goal: Goal | None) -> None:
    p50, p99 = (f"{found.quantile(part) * 1000:,.1f}" for part in (0.5, 0.99))
    answered = f"{len(found.seconds):,} of {found.wanted:,}"
    table.add_row(name, what, f"{rate}/s", p50, p99, answered, str(goal or ""))


def compared(client: Client, store: Postgres, asked: list[Endpoint]) -> Table:
    """Reports that rollups answer, and the same from raw events, one request after the other."""
    table = Table("report of a year", title="The same report from rollups and from raw events", title_justify="left")
    for heading in ("rollups ms", "raw ms", "ratio"):
        table.add_column(heading, justify="right")
    table.add_column("target")
    reports = [one for one in asked if one.is_report and json.loads(client.get(one.path).body)["source"] != "raw"]
    with console.status("rollups and raw events …"):
        ours = [client.seconds(one.path, ROUNDS) for one in reports]
        switch(store, READ_FLAG, on=False)
        raw = [client.seconds(one.path, ROUNDS) for one in reports]
        switch(store, READ_FLAG, on=True)
    for one, mine, theirs in zip(reports, ours, raw, strict=True):
        goal = Goal.at_least(theirs / mine, FASTER, "raw")
        table.add_row(one.name, f"{mine * 1000:,.1f}", f"{theirs * 1000:,.1f}", f"{theirs / mine:.1f}x", str(goal))
    return table


def shown(client: Client, sizes: Sizes) -> Table:
    """Whole pages of the dashboard, to their last panel, and what comes with them the first time."""
    style = sum(len(client.get(path).body) for path in _PAGE_PARTS)
    table = Table(
        "page", title=f"Dashboard; style and script are {style / 1000:.1f} kB more, once", title_justify="left"
    )
    for heading in ("complete ms", "weight kB"):
        table.add_column(heading, justify="right")
    table.add_column("target")
    for path in (
        "/",
        f"/segments?project={PROJECT.first}",
        f"/reporting?account={sizes.accounts // 2}",
        f"/reporting?account={sizes.large_account}",
        "/product-events?organisation=1",
        "/usage-export",
        "/enablement",
        "/tokens",
    ):
        with console.status(f"{path} …"):
            weight, seconds = len(client.get(path).body), client.seconds(path, ROUNDS)
        goal = Goal(f"at most {PAGE:g} s:", seconds <= PAGE)
        table.add_row(path, f"{seconds * 1000:,.0f}", f"{weight / 1000:.1f}", str(goal))
    return table


if __name__ == "__main__":
    main()
