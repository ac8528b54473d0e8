"""The schedules: each tick asks for what is missing, and for nothing else."""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import dagster as dg
import pytest
import time_machine

from analytics_pipeline.definitions import defs
from analytics_pipeline.schedules.segments import GRAPH
from tests.product import KEY, Product, document, today

NOTHING = "nothing is missing that can still be had, or a run for it is under way"
YESTERDAY = today() - timedelta(days=1)


def tick(hour: int = 1) -> datetime:
    """A tick on the day after YESTERDAY."""
    return datetime(today().year, today().month, today().day, hour, 15, tzinfo=timezone.utc)


def evaluate(at: datetime, instance: dg.DagsterInstance) -> list[dg.RunRequest] | str:
    """What the schedule asks for at the tick, or why it asks for nothing."""
    definitions = defs()
    context = dg.build_schedule_context(
        instance=instance, scheduled_execution_time=at, repository_def=definitions.get_repository_def()
    )
    answer = definitions.resolve_schedule_def("segments_closed_days").evaluate_tick(context)
    return list(answer.run_requests or []) or str(answer.skip_message)


def asked(answer: list[dg.RunRequest] | str) -> list[tuple[str | None, dict[str, list[int] | None]]]:
    """(day, asset to the projects that it is narrowed to) of each request."""
    assert not isinstance(answer, str), answer
    return [
        (
            request.partition_key,
            {
                key.to_user_string(): request.run_config.get("ops", {})
                .get(key.to_user_string(), {})
                .get("config", {})
                .get("projects")
                for key in request.asset_selection or []
            },
        )
        for request in answer
    ]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as made:
        yield made


def test_schedule__day_just_closed_is_missing__asks_for_it_at_every_tick(
    product: Product, instance: dg.DagsterInstance
) -> None:
    answers = [evaluate(tick(hour), instance) for hour in (0, 1, 5)]

    assert [asked(answer) for answer in answers] == [[(str(YESTERDAY), dict.fromkeys(GRAPH))]] * 3
    assert len({request.run_key for answer in answers for request in answer if isinstance(request, dg.RunRequest)}) == 3


def test_schedule__day_is_complete__skips(product: Product, instance: dg.DagsterInstance) -> None:
    product.put(document("alice"))
    with time_machine.travel(tick(), tick=True):
        assert product.materialise(day=YESTERDAY).success

    assert evaluate(tick(2), instance) == NOTHING
    assert set(product.snapshot(YESTERDAY)) == {(KEY, "alice")}


def test_schedule__project_is_new__asks_for_that_one_alone(product: Product, instance: dg.DagsterInstance) -> None:
    with time_machine.travel(tick(), tick=True):
        product.materialise(day=YESTERDAY)
    product.add_project(11)
    product.add_environment(110, project=11, key="new")
    product.add_segment(2, [], project=11)

    assert asked(evaluate(tick(2), instance)) == [(str(YESTERDAY), {asset: [11] for asset in GRAPH})]


def test_schedule__loaded_but_not_counted__is_counted_even_after_the_day_closed(
    product: Product, instance: dg.DagsterInstance
) -> None:
    with time_machine.travel(tick(), tick=True):
        product.materialise("raw_identities", "identity_snapshots", day=YESTERDAY)

    assert asked(evaluate(tick(12), instance)) == [(str(YESTERDAY), {"segment_counts": None})]


def test_schedule__captured_before_the_day_closed__asks_for_the_closing_snapshot(
    product: Product, instance: dg.DagsterInstance
) -> None:
    with time_machine.travel(tick() - timedelta(hours=12), tick=True):
        assert product.materialise(day=YESTERDAY).success

    assert asked(evaluate(tick(1), instance)) == [(str(YESTERDAY), dict.fromkeys(GRAPH))]
    assert evaluate(tick(7), instance) == NOTHING


def test_schedule__loaded_again_after_the_count__counts_again(product: Product, instance: dg.DagsterInstance) -> None:
    with time_machine.travel(tick(), tick=True):
        product.materialise(day=YESTERDAY)
        product.materialise("raw_identities", "identity_snapshots", day=YESTERDAY)

    assert asked(evaluate(tick(12), instance)) == [(str(YESTERDAY), {"segment_counts": None})]


def test_schedule__day_can_no_longer_be_captured__skips(product: Product, instance: dg.DagsterInstance) -> None:
    assert evaluate(tick(6), instance) == NOTHING


def test_schedule__run_under_way__waits_for_it(product: Product, instance: dg.DagsterInstance) -> None:
    tags = {"dagster/partition": str(YESTERDAY), "dagster/schedule_name": "segments_closed_days"}
    job = defs().resolve_implicit_global_asset_job_def()
    instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=tags)

    assert evaluate(tick(), instance) == NOTHING


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

    assert evaluate(tick(), instance) == f"skipped: {reason}"
