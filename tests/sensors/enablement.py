"""What the tests of enablement share: ticks, runs, and whether a history is complete."""

from datetime import date, datetime, time, timedelta, timezone
from typing import Any

import dagster as dg

from analytics_pipeline.flows.enablement.epochs import Epoch
from analytics_pipeline.flows.enablement.ledger import EnablementLedger
from analytics_pipeline.sensors.ai_usage import ai_usage_late_rows
from tests import resolved
from tests.product import Product, failure_text, today

ASSETS = ("duo_chat_events", "code_suggestion_events", "ai_usage_daily")
FIRST = today() - timedelta(days=3)
RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


def at(day: date, hour: int = 12) -> datetime:
    return datetime.combine(day, time(hour), timezone.utc)


def tick(instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    """What one evaluation of the sensor asks for."""
    repository = resolved.repository()
    sensor = repository.get_sensor_def("enablement")
    answer = sensor.evaluate_tick(dg.build_sensor_context(instance=instance, repository_def=repository))
    return list(answer.run_requests or [])


def asked(requests: list[dg.RunRequest]) -> list[tuple[str | None, tuple[str, ...]]]:
    """(run key, range of days) of each request."""
    return [(request.run_key, tuple(request.tags[name] for name in RANGE)) for request in requests]


def days(first: date, last: date) -> tuple[str, str]:
    return first.isoformat(), last.isoformat()


def launch(instance: dg.DagsterInstance, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
    """What the daemon does with a request, in this process."""
    return resolved.run(
        instance, list(request.asset_selection or []), tags=dict(request.tags), run_config=request.run_config
    )


def settle(instance: dg.DagsterInstance) -> list[tuple[str | None, tuple[str, ...]]]:
    """Tick and launch until nothing is asked for; returns all that was."""
    found = []
    for _ in range(10):
        requests = tick(instance)
        found += asked(requests)
        if not requests:
            return found
        for request in requests:
            result = launch(instance, request)
            assert result.success, failure_text(result)
    raise AssertionError(f"still asking: {found}")


def newest(product: Product, scope: str = "instance", feature: str = "ai_usage") -> Epoch:
    return EnablementLedger(product.postgres).newest(feature)[scope]


def make_due(product: Product) -> None:
    """Let the pause before the next attempt be over."""
    product.execute("UPDATE analytics_pipeline.enablements SET next_attempt_at = now()")


def stored(product: Product) -> tuple[list[Any], list[Any]]:
    """(id, user, event) of every event in ClickHouse, and of every accepted one in Postgres."""
    ours, theirs = [], []
    for table in ("duo_chat_events", "code_suggestion_events"):
        ours += product.clickhouse.query(f"SELECT '{table}', id, user_id, event FROM {table} ORDER BY id")
        theirs += product.execute(f"SELECT '{table}', id, user_id, event FROM ai_{table} ORDER BY id")
    return ours, theirs


def occurrences(product: Product) -> int:
    found: int = product.clickhouse.scalar("SELECT sum(occurrences) FROM ai_usage_daily FINAL")
    return found


def assert_complete(product: Product) -> None:
    ours, theirs = stored(product)
    assert ours == theirs
    assert occurrences(product) == len(theirs)


def late_rows(instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    """What the daily sync asks for."""
    answer = ai_usage_late_rows.evaluate_tick(dg.build_sensor_context(instance=instance))
    return list(answer.run_requests or [])


def add_account(product: Product, account: int, zone: str) -> None:
    product.execute(
        "INSERT INTO accounts (id, name, settings)"
        " VALUES (%s, 'A', jsonb_build_object('reporting_timezone', %s::text))",
        account,
        zone,
    )
    for number in range(4):
        product.execute(
            "INSERT INTO reporting_events (name, value, account_id, inbox_id, created_at)"
            " VALUES ('first_response', 1, %s, 1, %s)",
            account,
            at(FIRST + timedelta(days=number)),
        )
