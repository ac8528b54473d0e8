"""The sensor that counts a project again when its segments change."""

from contextlib import nullcontext
from typing import Any

import dagster as dg
import pytest

from analytics_pipeline.orchestration.requests import FOLLOWS
from analytics_pipeline.sensors import segments
from analytics_pipeline.sensors.segments import CHANGES, segment_changes
from tests import resolved
from tests.product import Product, condition, document, today
from tests.thorough import rarely

UNCHANGED = "the segments are those that were last counted, and ClickHouse holds their counts"


def evaluate(instance: dg.DagsterInstance | None = None) -> list[tuple[str | None, Any]] | str:
    """(day, run config's projects) of each request, or why there is none."""
    with nullcontext(instance) if instance else dg.DagsterInstance.ephemeral() as used:
        repository = resolved.repository()
        answer = segment_changes.evaluate_tick(dg.build_sensor_context(instance=used, repository_def=repository))
    assert [request.run_key for request in answer.run_requests or []] == [None] * len(answer.run_requests or [])
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
        *rarely(
            "UPDATE segments SET deleted_at = now() - interval '30 minutes' WHERE id = 2",
            "INSERT INTO segments (id, project_id, name, rules, updated_at) VALUES (3, 10, 'x', '[]', '2020-01-01')",
        ),
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


def test_sensor__many_projects_changed__are_spread_over_ticks(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "PROJECTS_PER_TICK", 3)
    for number in range(4):
        product.add_project(100 + number)
        product.add_environment(1000 + number, project=100 + number, key=f"key-{number}")
        product.add_segment(1000 + number, [], project=100 + number)
    make_quiet(product)
    product.materialise()
    product.execute("UPDATE segments SET updated_at = now() - interval '30 minutes'")

    answer = evaluate()

    assert not isinstance(answer, str)
    assert [len(projects) for _, projects in answer] == [3]


def test_sensor__feature_switched_off__asks_for_nothing(product: Product) -> None:
    make_quiet(product)
    product.materialise()
    product.execute("UPDATE segments SET updated_at = now() - interval '30 minutes'")
    product.set_flag(1, enabled=False)

    assert evaluate() == UNCHANGED


@pytest.mark.parametrize(
    "change", ["UPDATE segments SET deleted_at = now() - interval '30 minutes'", *rarely("DELETE FROM segments")]
)
def test_sensor__last_segment_deleted__asks_until_its_counts_are_gone(product: Product, change: str) -> None:
    make_quiet(product)
    product.put(document("alice", plan="pro"))
    product.materialise()
    product.execute(change)

    assert evaluate() == [(str(today()), [10])]

    assert product.materialise("segment_counts", projects=[10]).success
    assert (evaluate(), product.history(), product.current()) == (UNCHANGED, {}, {})


@pytest.mark.slow
def test_sensor__clickhouse_lost_the_counts__asks_until_they_are_there_again(product: Product) -> None:
    make_quiet(product)
    product.put(document("alice", plan="pro"))
    product.materialise()
    product.clickhouse.execute("TRUNCATE TABLE segment_counts")

    assert evaluate() == [(str(today()), [10])]

    product.materialise("segment_counts", projects=[10])
    assert (evaluate(), product.history()) == (UNCHANGED, {(1, 100): (1, "counted")})


@pytest.mark.slow
def test_sensor__postgres_went_back_to_before_the_last_count__asks_until_both_stores_agree(product: Product) -> None:
    make_quiet(product)
    product.put(document("alice", plan="pro"))
    product.materialise()
    columns = "counts, computed_at, started_at, completed_at"
    before = product.execute(f"SELECT {columns} FROM analytics_pipeline.segment_refreshes")
    product.put(document("bob", plan="pro"))
    product.materialise()
    product.execute(f"UPDATE analytics_pipeline.segment_refreshes SET ({columns}) = (%s, %s, %s, %s)", *before[0])
    product.execute("UPDATE analytics_pipeline.segment_membership_counts SET count = 1")

    assert evaluate() == [(str(today()), [10])]

    product.materialise("segment_counts", projects=[10])
    assert (evaluate(), product.history(), product.current()) == (UNCHANGED, *({(1, 100): (2, "counted")},) * 2)


@pytest.mark.slow
def test_sensor__counted_before_that_was_recorded__is_trusted_while_counts_are_there(product: Product) -> None:
    make_quiet(product)
    product.materialise()
    product.execute("UPDATE analytics_pipeline.segment_refreshes SET counts = NULL, computed_at = NULL")

    assert evaluate() == UNCHANGED
    product.clickhouse.execute("TRUNCATE TABLE segment_counts")
    assert evaluate() == [(str(today()), [10])]


def test_sensor__count_died__asks_again_after_an_hour(product: Product) -> None:
    make_quiet(product)
    product.materialise()
    product.execute("UPDATE analytics_pipeline.segment_refreshes SET status = 'running', started_at = now()")

    assert evaluate() == UNCHANGED
    product.execute("UPDATE analytics_pipeline.segment_refreshes SET started_at = now() - interval '61 minutes'")
    assert evaluate() == [(str(today()), [10])]


def test_sensor__run_for_changes_is_under_way_or_several_brought_nothing__waits(product: Product) -> None:
    make_quiet(product)
    product.materialise()
    product.execute("UPDATE segments SET updated_at = now() - interval '30 minutes'")
    job = resolved.all_assets_job()

    with dg.DagsterInstance.ephemeral() as instance:
        asked = [evaluate(instance)]
        repository = resolved.repository()
        context = dg.build_sensor_context(instance=instance, repository_def=repository)
        (request,) = segment_changes.evaluate_tick(context).run_requests or []
        tags = {key: request.tags[key] for key in (FOLLOWS, CHANGES)}
        running = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=tags)
        asked.append(evaluate(instance))
        instance.report_run_failed(running)
        asked.append(evaluate(instance))
        instance.create_run_for_job(job, status=dg.DagsterRunStatus.FAILURE, tags=tags)
        asked.append(evaluate(instance))

    waits = "a run for changed segments is under way, or pauses after failures"
    assert asked == [[(str(today()), [10])], waits, [(str(today()), [10])], waits]


@pytest.mark.parametrize("store", ["postgres", "clickhouse"])
def test_sensor__not_migrated__skips_with_the_repair(product: Product, store: str) -> None:
    if store == "postgres":
        product.execute("DROP SCHEMA analytics_pipeline CASCADE")
    else:
        product.clickhouse.execute("DROP TABLE segment_counts")

    answer = evaluate()

    assert isinstance(answer, str)
    assert answer.startswith("skipped: ")
    assert answer.endswith("Run: analytics-pipeline migrate all")


@pytest.mark.parametrize("variable", ["CLICKHOUSE_URL", "DATABASE_URL"])
def test_sensor__store_not_configured__skips(product: Product, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.delenv(variable)

    answer = evaluate()

    assert isinstance(answer, str)
    assert answer.startswith("skipped: ")
