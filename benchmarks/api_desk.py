"""What the benchmark of the read API asks about; the flows themselves compute what is served."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, timezone

from analytics_pipeline.config import Settings
from analytics_pipeline.flows.days import day_start
from analytics_pipeline.flows.identities.ledger import IdentityLedger, Loaded
from analytics_pipeline.flows.identities.stored import stored_environments
from analytics_pipeline.flows.product_events.aggregates.build import Build
from analytics_pipeline.flows.product_events.aggregates.tables import AGGREGATES
from analytics_pipeline.flows.reporting.reads.reading import READ_FLAG
from analytics_pipeline.flows.segments.ledger import RefreshLedger
from analytics_pipeline.flows.segments.refresh import CountRefresh
from analytics_pipeline.flows.tenants import SEGMENT_MEMBERSHIP_FLAG, all_projects
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.postgres import Postgres, postgres
from benchmarks import product_event_figures, segments
from benchmarks.product_event_figures import RETENTION
from benchmarks.reporting import Bench
from benchmarks.reporting_desk import add_large_account, fill
from benchmarks.rows import console

RUN = "benchmark"
EVENT_DAYS = 30
ENVIRONMENTS = 4
PROJECT = segments.Product(1_000, 1, ENVIRONMENTS, 0, 50)


@dataclass(frozen=True)
class Sizes:
    """How many rows of each kind; `large` events are one account's own."""

    events: int
    accounts: int
    large: int
    identities: int
    product_events: int

    @property
    def large_account(self) -> int:
        return self.accounts + 1

    def __str__(self) -> str:
        return (
            f"{self.events:,} reporting events of {self.accounts} accounts and {self.large:,} of one more,"
            f" {self.identities:,} identities, {self.product_events:,} product events"
        )


def prepare(settings: Settings, clickhouse: ClickHouse, sizes: Sizes, today: date) -> None:
    """Fill the stores and compute what is served."""
    store = postgres(settings)
    steps: tuple[tuple[str, Callable[[], None]], ...] = (
        ("identities and segments", lambda: _identities(store, clickhouse, sizes, today)),
        ("product events and their figures", lambda: _product_events(store, clickhouse, sizes, today)),
        ("reporting events and rollups", lambda: _reports(settings, store, clickhouse, sizes, today)),
    )
    for name, step in steps:
        with console.status(f"{name} …"):
            step()
    switch(store, SEGMENT_MEMBERSHIP_FLAG, on=True)
    switch(store, READ_FLAG, on=True)


def switch(store: Postgres, flag: str, *, on: bool) -> None:
    """Set a feature flag for everybody."""
    with store.connect() as connection:
        connection.execute(
            "INSERT INTO feature_flags (name, enabled) VALUES (%s, %s)"
            " ON CONFLICT (name, scope) DO UPDATE SET enabled = excluded.enabled",
            [flag, on],
        )


def _identities(store: Postgres, clickhouse: ClickHouse, sizes: Sizes, today: date) -> None:
    segments.fill(replace(PROJECT, identities=sizes.identities // ENVIRONMENTS), store, clickhouse, today)
    (project,) = all_projects(store)
    held = stored_environments(clickhouse, today)
    loaded = [Loaded(one, held[one.key].version, held[one.key].rows) for one in project.environments]
    IdentityLedger(store, today, RUN).complete(loaded)
    CountRefresh(clickhouse, store, RefreshLedger(store, today, RUN), is_open=True).refresh(project)


def _product_events(store: Postgres, clickhouse: ClickHouse, sizes: Sizes, today: date) -> None:
    first = today - timedelta(days=EVENT_DAYS - 1)
    numbers = range(sizes.product_events)
    product_event_figures.fill(clickhouse, numbers, day_start(first), datetime.now(timezone.utc))
    for aggregate in AGGREGATES:
        Build(aggregate, clickhouse, store, RUN, RETENTION).build(first, today)


def _reports(settings: Settings, store: Postgres, clickhouse: ClickHouse, sizes: Sizes, today: date) -> None:
    fill(store, sizes.events, sizes.accounts, today)
    add_large_account(store, sizes.large, sizes.large_account, today)
    # In every zone the day before yesterday is over, and copied to its end.
    Bench(settings, clickhouse, store, sizes.events, today - timedelta(days=2)).bring_in()
