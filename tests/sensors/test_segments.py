"""The sensor that counts a project again when its segments change."""

from typing import Any

import dagster as dg
import pytest

from analytics_pipeline.definitions import defs
from analytics_pipeline.sensors.segments import PROJECTS_PER_TICK, segment_changes
from tests.product import Product, condition, document, today

UNCHANGED = "the segments are those that were last counted"


def evaluate() -> list[tuple[str | None, Any]] | str:
    """(day, run config's projects) of each request, or why there is none."""
    with dg.DagsterInstance.ephemeral() as instance:
        repository = defs().get_repository_def()
        answer = segment_changes.evaluate_tick(dg.build_sensor_context(instance=instance, repository_def=repository))
    found = [
        (request.partition_key, request.run_config["ops"]["segment_counts"]["config"]["projects"])
        for request in answer.run_requests or []
    ]
    return found or str(answer.skip_message)


def make_quiet(product: Product) -> None:
    """Let the last change of every segment be an hour ago."""
    product.execute("UPDATE segments SET updated_at = updated_at - interval '1 hour'")


def test_sensor__nothing_changed__asks_for_nothing(product: Product) -> None:
    make_quiet(product)
    product.materialise()

    assert evaluate() == UNCHANGED


def test_sensor__never_counted__is_left_to_the_schedule(product: Product) -> None:
    make_quiet(product)
    product.materialise("raw_identities", "identity_snapshots")

    assert evaluate() == UNCHANGED


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE segments SET updated_at = now() - interval '30 minutes'",
        "UPDATE segments SET deleted_at = now() - interval '30 minutes' WHERE id = 2",
        "INSERT INTO segments (id, project_id, name, rules, updated_at) VALUES (3, 10, 'x', '[]', '2020-01-01')",
    ],
)
def test_sensor__segments_changed_and_are_quiet__asks_until_they_are_counted(product: Product, change: str) -> None:
    product.add_segment(2, condition("IS_SET", "plan", None))
    make_quiet(product)
    product.put(document("alice", plan="pro"))
    product.materialise()
    product.execute(change)

    assert evaluate() == [(str(today()), [10])]
    assert evaluate() == [(str(today()), [10])]

    product.materialise("segment_counts", projects=[10])

    assert evaluate() == UNCHANGED


def test_sensor__segments_are_being_edited__waits_but_not_for_ever(product: Product) -> None:
    make_quiet(product)
    product.materialise()
    product.execute("UPDATE segments SET updated_at = now()")

    assert evaluate() == UNCHANGED
    product.execute("UPDATE analytics_pipeline.segment_refreshes SET completed_at = now() - interval '16 minutes'")
    assert evaluate() == [(str(today()), [10])]


def test_sensor__many_projects_changed__are_spread_over_ticks(product: Product) -> None:
    for number in range(PROJECTS_PER_TICK + 1):
        product.add_project(100 + number)
        product.add_environment(1000 + number, project=100 + number, key=f"key-{number}")
        product.add_segment(1000 + number, [], project=100 + number)
    make_quiet(product)
    product.materialise()
    product.execute("UPDATE segments SET updated_at = now() - interval '30 minutes'")

    answer = evaluate()

    assert not isinstance(answer, str)
    assert [len(projects) for _, projects in answer] == [PROJECTS_PER_TICK]


def test_sensor__feature_switched_off__asks_for_nothing(product: Product) -> None:
    make_quiet(product)
    product.materialise()
    product.execute("UPDATE segments SET updated_at = now() - interval '30 minutes'")
    product.set_flag(1, enabled=False)

    assert evaluate() == UNCHANGED


@pytest.mark.parametrize("variable", ["CLICKHOUSE_URL", "DATABASE_URL"])
def test_sensor__store_not_configured__skips(product: Product, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.delenv(variable)

    answer = evaluate()

    assert isinstance(answer, str)
    assert answer.startswith("skipped: ")
