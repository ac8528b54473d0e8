"""A support desk in the source: accounts, events, and their way into ClickHouse."""

import json
from datetime import date, datetime, timedelta, timezone
from typing import Any

from analytics_pipeline.flows.daily_copy.copy import DayCopy
from analytics_pipeline.flows.reporting.reads.query import ReportQuery
from analytics_pipeline.flows.reporting.reads.reports import Reports
from analytics_pipeline.flows.reporting.registry import REGISTRY, Registry
from analytics_pipeline.flows.reporting.rollups import RolledDay, Rollups
from analytics_pipeline.flows.reporting.source import REPORTING_EVENTS
from analytics_pipeline.resources.feature_flags import feature_flags
from tests.product import Product

Rollup = dict[tuple[int, str, str, int, str], tuple[int, float, float]]


def at(text: str) -> datetime:
    """A moment of UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


def add_account(product: Product, account: int = 1, zone: str | None = "America/New_York") -> None:
    settings = {} if zone is None else {"reporting_timezone": zone}
    product.execute(
        "INSERT INTO accounts (id, name, settings) VALUES (%s, %s, %s)"
        " ON CONFLICT (id) DO UPDATE SET settings = excluded.settings",
        account,
        f"Account {account}",
        json.dumps(settings),
    )


def add_event(product: Product, name: str | None, moment: datetime, **values: Any) -> None:
    row = {"name": name, "account_id": 1, "created_at": moment, **values}
    product.execute(
        f"INSERT INTO reporting_events ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})", *row.values()
    )


def copy(product: Product, first: date, last: date) -> None:
    """Copy the UTC days that the local dates overlap."""
    day = timedelta(days=1)
    DayCopy(REPORTING_EVENTS, product.postgres, product.clickhouse, "run").copy(first - day, last + day)


def compute(product: Product, first: date, last: date, registry: Registry = REGISTRY) -> list[RolledDay]:
    return Rollups(product.clickhouse, product.postgres, "run", registry).compute(first, last)


def build(product: Product, first: date, last: date) -> Rollup:
    """Copy and compute; returns all rollups."""
    copy(product, first, last)
    compute(product, first, last)
    return rollups(product)


def rollups(product: Product) -> Rollup:
    """(account, date, dimension, id, metric) to (count, sum, sum in business hours)."""
    rows = product.clickhouse.query(
        "SELECT account_id, toString(date), dimension_type, dimension_id, metric, count, sum_value,"
        " sum_value_business_hours FROM reporting_rollups FINAL"
    )
    found = {tuple(row[:5]): tuple(row[5:]) for row in rows}
    assert len(found) == len(rows), "a key has two rows"
    return found


def covered(product: Product) -> list[tuple[Any, ...]]:
    return product.execute(
        "SELECT account_id, date::text, timezone, complete FROM analytics_pipeline.reporting_coverage ORDER BY 2, 1"
    )


def add_conversation(
    product: Product, id_: int, moment: datetime, inbox: int, assignee: int | None = None, team: int | None = None
) -> None:
    product.execute(
        "INSERT INTO conversations (id, account_id, inbox_id, assignee_id, team_id, created_at)"
        " VALUES (%s, 1, %s, %s, %s, %s)",
        id_,
        inbox,
        assignee,
        team,
        moment,
    )


def reports(product: Product, *, rollup: bool = True, registry: Registry = REGISTRY) -> Reports:
    """The reads of account 1, with its flag on or off."""
    product.execute(
        "INSERT INTO feature_flags (name, scope, enabled) VALUES ('reporting_events_rollup', 'account:1', %s)"
        " ON CONFLICT (name, scope) DO UPDATE SET enabled = excluded.enabled",
        rollup,
    )
    flags = feature_flags(product.settings, product.postgres)
    return Reports(product.clickhouse, product.postgres, flags, registry)


def ask(since: str, until: str, **rest: Any) -> ReportQuery:
    """A query of account 1 between two moments of UTC."""
    return ReportQuery(1, at(since), at(until), **rest)
