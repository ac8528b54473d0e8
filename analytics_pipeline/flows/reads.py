"""Reads about all flows: how fresh each is, what it lacks, what fails, what became of histories, what it costs."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from clickhouse_connect.driver.exceptions import DatabaseError

from analytics_pipeline.flows.enablement.epochs import Epoch, State
from analytics_pipeline.flows.enablement.ledger import EnablementLedger
from analytics_pipeline.flows.features import FEATURES, days_done
from analytics_pipeline.flows.product_events.aggregates.tables import AGGREGATES
from analytics_pipeline.flows.usage_export.reads import Reached, reached
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.errors import error_code
from analytics_pipeline.resources.postgres import Postgres
from analytics_pipeline.resources.sql_files import sql_file

_UNKNOWN_TABLE = 60
# Relations whose days the ledger `held_days` has, with their flows.
_TABLES = [
    *((feature.name, table.name) for feature in FEATURES for table in feature.tables),
    *(("product_events", aggregate.name) for aggregate in AGGREGATES),
]
_HELD = {"flows": [flow for flow, _ in _TABLES], "relations": [relation for _, relation in _TABLES]}


@dataclass(frozen=True)
class Freshness:
    """A relation of ClickHouse, or a sink of the usage export, by what the ledgers say of its days (UTC).

    `missing_days` are those from the first day up to the newest that anybody began which are not there; of product
    events those that were there once, of a sink those from which events wait. `lost_days` are those that were there.
    `updated_at` is when a day last came in, or a sink last had everything. None: nothing has come in yet.
    """

    flow: str
    relation: str
    first_day: date | None
    last_day: date | None
    held_days: int
    lost_days: int
    missing_days: int
    rows: int | None
    updated_at: datetime | None


@dataclass(frozen=True)
class Failing:
    """Something that failed and that nothing has repaired since. `unit` is whose, e.g. `project:7`."""

    flow: str
    unit: str
    what: str
    since: datetime | None
    reason: str


@dataclass(frozen=True)
class History:
    """The newest epoch of a feature's scope: whether it is on, and how far its history is; days are UTC days."""

    feature: str
    scope: str
    epoch: int
    switch: Literal["on", "off"]
    state: State
    first_day: date | None
    last_day: date | None
    days: int
    days_done: int
    rows: int | None
    attempt: int
    last_attempt: int
    requested_at: datetime
    completed_at: datetime | None
    error: str


@dataclass(frozen=True)
class Cost:
    """Statements of ClickHouse that ran for an organisation; None: for what is nobody's alone."""

    organisation: int | None
    flow: str
    statements: int
    rows_read: int
    bytes_read: int
    rows_written: int
    seconds: float


def freshness(postgres: Postgres) -> list[Freshness]:
    """Every relation that has a day, and every sink that was ever served, by flow and name."""
    relations = [Freshness(*row) for row in postgres.query(sql_file(__package__, "freshness.sql"), **_HELD)]
    return sorted(relations + [_of_sink(one) for one in reached(postgres)], key=lambda one: (one.flow, one.relation))


def _of_sink(one: Reached) -> Freshness:
    held, missing = (one.last_day - one.first_day).days + 1, (one.today - one.last_day).days
    first, last = (one.first_day, one.last_day) if held else (None, None)
    return Freshness("usage_export", one.sink, first, last, held, 0, missing, one.records, one.updated_at)


def failing(postgres: Postgres) -> list[Failing]:
    """By flow and unit. Asset checks are not among them: check_outcomes/reads.py has them."""
    return [Failing(*row) for row in postgres.query(sql_file(__package__, "failing.sql"), **_HELD)]


def histories(postgres: Postgres, scope: str | None = None) -> list[History]:
    """The newest epoch of every scope, or of this one, by feature and scope."""
    epochs = EnablementLedger(postgres).all()
    return [_history(postgres, epoch) for epoch in epochs if scope in (None, epoch.scope)]


def _history(postgres: Postgres, epoch: Epoch) -> History:
    return History(
        epoch.feature,
        epoch.scope,
        epoch.epoch,
        "on" if epoch.closed_at is None else "off",
        epoch.state,
        epoch.first_day,
        epoch.last_day,
        len(epoch.days),
        len(days_done(postgres, epoch)),
        epoch.rows,
        epoch.attempt,
        epoch.last_attempt,
        epoch.requested_at,
        epoch.completed_at,
        epoch.error,
    )


def costs(clickhouse: ClickHouse, hours: int) -> list[Cost] | None:
    """By organisation and flow, over the last hours; None: the server keeps no log of its statements."""
    try:
        return [Cost(*row) for row in clickhouse.query(sql_file(__package__, "cost.sql"), hours=hours)]
    except DatabaseError as error:
        if error_code(error) != _UNKNOWN_TABLE:
            raise
        return None


def dead_letters(postgres: Postgres) -> Mapping[str, int]:
    """How many records of each flow nobody could read or nobody would take."""
    return dict(postgres.query("SELECT flow, count(*) FROM analytics_pipeline.dead_letters GROUP BY flow"))
