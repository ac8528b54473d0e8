"""The schedules: each tick asks for what is missing, and for nothing else."""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import dagster as dg
import pytest
import time_machine

from analytics_pipeline.definitions import defs
from tests.product import KEY, Product, document, today

YESTERDAY = today() - timedelta(days=1)


def tick(hour: int = 1) -> datetime:
    """A tick on the day after YESTERDAY."""
    return datetime(today().year, today().month, today().day, hour, 15, tzinfo=timezone.utc)


def evaluate(at: datetime, instance: dg.DagsterInstance) -> dg.RunRequest | dg.SkipReason:
    """What the schedule answers at the tick."""
    definitions = defs()
    schedule = definitions.resolve_schedule_def("daily_segment_counts")
    context = dg.build_schedule_context(
        instance=instance, scheduled_execution_time=at, repository_def=definitions.get_repository_def()
    )
    answer = schedule.evaluate_tick(context)
    if answer.run_requests:
        (request,) = answer.run_requests
        return request
    return dg.SkipReason(answer.skip_message)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as made:
        yield made


def test_schedule__day_just_closed_is_missing__asks_for_it_at_every_tick(
    product: Product, instance: dg.DagsterInstance
) -> None:
    product.put(document("alice"))

    requests = [evaluate(tick(hour), instance) for hour in (0, 1, 5)]

    assert [request.partition_key for request in requests if isinstance(request, dg.RunRequest)] == [str(YESTERDAY)] * 3
    assert len({request.run_key for request in requests if isinstance(request, dg.RunRequest)}) == 3


def test_schedule__day_is_complete__skips(product: Product, instance: dg.DagsterInstance) -> None:
    product.put(document("alice"))
    with time_machine.travel(tick(), tick=True):
        assert product.materialise(day=YESTERDAY).success

    assert evaluate(tick(2), instance) == dg.SkipReason(f"{YESTERDAY} is complete")
    assert set(product.snapshot(YESTERDAY)) == {(KEY, "alice")}


def test_schedule__environment_is_new__asks_again(product: Product, instance: dg.DagsterInstance) -> None:
    with time_machine.travel(tick(), tick=True):
        product.materialise(day=YESTERDAY)
    product.add_environment(101, key="new")

    assert isinstance(evaluate(tick(2), instance), dg.RunRequest)


def test_schedule__day_can_no_longer_be_captured__skips(product: Product, instance: dg.DagsterInstance) -> None:
    assert evaluate(tick(6), instance) == dg.SkipReason(f"{YESTERDAY} can no longer be captured")


@pytest.mark.parametrize(
    ("variable", "reason"),
    [
        ("CLICKHOUSE_URL", "clickhouse_not_configured"),
        ("IDENTITIES_TABLE", "dynamodb_not_configured"),
        ("DATABASE_URL", "postgres_not_configured"),
    ],
)
def test_schedule__store_not_configured__skips(
    product: Product, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, variable: str, reason: str
) -> None:
    monkeypatch.delenv(variable)

    assert evaluate(tick(), instance) == dg.SkipReason(f"skipped: {reason}")
