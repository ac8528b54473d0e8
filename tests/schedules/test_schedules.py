"""The schedules: each tick asks for what is missing, and for nothing else."""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import dagster as dg
import msgspec
import pytest
import time_machine

from analytics_pipeline.flows.identities.units import unit_of
from analytics_pipeline.schedules.segments import GRAPH, NOTHING
from tests import resolved
from tests.product import KEY, Product, condition, document, failure_text, today
from tests.thorough import rarely

YESTERDAY = today() - timedelta(days=1)


def tick(hour: int = 1) -> datetime:
    """A tick on the day after YESTERDAY."""
    return datetime(today().year, today().month, today().day, hour, 15, tzinfo=timezone.utc)


def evaluate(at: datetime, instance: dg.DagsterInstance) -> list[dg.RunRequest] | str:
    """What the schedule asks for at the tick, or why it asks for nothing."""
    context = dg.build_schedule_context(
        instance=instance, scheduled_execution_time=at, repository_def=resolved.repository()
    )
    answer = resolved.repository().get_schedule_def("segments_closed_days").evaluate_tick(context)
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


@pytest.mark.slow
def test_schedule__loaded_again_after_the_count__counts_again(product: Product, instance: dg.DagsterInstance) -> None:
    with time_machine.travel(tick(), tick=True):
        product.materialise(day=YESTERDAY)
        product.materialise("raw_identities", "identity_snapshots", day=YESTERDAY)

    assert asked(evaluate(tick(12), instance)) == [(str(YESTERDAY), {"segment_counts": None})]


def test_schedule__day_can_no_longer_be_captured__skips(product: Product, instance: dg.DagsterInstance) -> None:
    assert evaluate(tick(6), instance) == NOTHING


@pytest.fixture
def closed(product: Product) -> Product:
    """Two projects, of which YESTERDAY was captured after its end, loaded and counted: one pro each."""
    product.add_project(11)
    product.add_environment(110, project=11, key="other")
    product.add_segment(2, condition("EQUAL", "plan", "pro"), project=11)
    product.put(document("alice", plan="pro"), document("olga", "other", plan="pro"))
    with time_machine.travel(tick(), tick=True):
        assert product.materialise(day=YESTERDAY).success
    return product


COUNTS = {(1, 100): (1, "counted"), (2, 110): (1, "counted")}
RESTORED = [(str(YESTERDAY), {"identity_snapshots": None, "segment_counts": None})]


def lose_captures(product: Product, pattern: str = "") -> None:
    unit = f"identities/day={YESTERDAY}"
    for file in product.landing.stored(unit):
        if pattern in file.name:
            product.landing.store.delete(f"{unit}/{file.name}")


@pytest.mark.parametrize(
    ("lost", "wanted"),
    [
        (
            "DELETE FROM identities WHERE environment_id = 'other' AND snapshot_date = {day:Date}",
            [(str(YESTERDAY), {"identity_snapshots": [11], "segment_counts": [11]})],
        ),
        ("TRUNCATE TABLE segment_counts", [(str(YESTERDAY), {"segment_counts": None})]),
        *rarely(
            ("ALTER TABLE identities DROP PARTITION {day:Date}", RESTORED),
            (
                "DELETE FROM segment_counts WHERE project_id = 11 AND date = {day:Date}",
                [(str(YESTERDAY), {"segment_counts": [11]})],
            ),
        ),
    ],
)
def test_schedule__clickhouse_lost_a_closed_day__asks_until_it_is_there_again(
    closed: Product, instance: dg.DagsterInstance, lost: str, wanted: list[tuple[str, dict[str, list[int] | None]]]
) -> None:
    closed.clickhouse.execute(lost, day=YESTERDAY)

    answer = asked(evaluate(tick(12), instance))

    assert answer == wanted
    ((_, assets),) = answer
    for asset, projects in assets.items():
        assert closed.materialise(asset, day=YESTERDAY, projects=projects or [10, 11]).success
    assert evaluate(tick(13), instance) == NOTHING
    assert (closed.history(YESTERDAY), set(closed.snapshot(YESTERDAY))) == (COUNTS, {(KEY, "alice"), ("other", "olga")})


@pytest.mark.parametrize("pattern", ["", *rarely("manifest.json", ".jsonl.zst")])
def test_schedule__lost_and_not_kept_by_the_landing_zone__is_captured_again_or_said_and_not_asked_for(
    closed: Product, instance: dg.DagsterInstance, pattern: str
) -> None:
    closed.clickhouse.execute("TRUNCATE TABLE identities")
    lose_captures(closed, pattern)

    answers = [evaluate(tick(hour), instance) for hour in (2, 12)]

    assert asked(answers[0]) == [(str(YESTERDAY), dict.fromkeys(GRAPH))]
    assert answers[1] == (
        f"{NOTHING}; snapshots that ClickHouse has lost and the landing zone does not keep cannot be had again:"
        f" {YESTERDAY} (2 environments); their counts of before stay"
    )
    assert closed.history(YESTERDAY) == COUNTS


def test_schedule__postgres_went_back_to_before_the_load__loads_from_the_landing_zone(
    closed: Product, instance: dg.DagsterInstance
) -> None:
    for table in ("identity_loads", "segment_refreshes", "segment_membership_counts"):
        closed.execute(f"DELETE FROM analytics_pipeline.{table}")

    assert asked(evaluate(tick(12), instance)) == RESTORED
    assert closed.materialise("identity_snapshots", "segment_counts", day=YESTERDAY).success
    assert (evaluate(tick(13), instance), closed.current()) == (NOTHING, COUNTS)


@pytest.mark.slow
def test_schedule__landing_zone_went_back_to_an_older_capture__it_is_not_loaded_over_a_newer_one(
    closed: Product, instance: dg.DagsterInstance
) -> None:
    unit = unit_of(YESTERDAY, "other")
    manifest = closed.landing.manifest(unit)
    assert manifest is not None
    older = msgspec.structs.replace(manifest, captured_at=manifest.captured_at - timedelta(hours=1))
    closed.landing.store.put(f"{unit}/manifest.json", msgspec.json.encode(older))
    closed.execute("UPDATE analytics_pipeline.identity_loads SET rows = 7 WHERE environment_key = 'other'")

    assert "cannot be had again" in str(evaluate(tick(12), instance))


def test_schedule__today__only_what_was_begun_is_brought_to_its_end(
    product: Product, instance: dg.DagsterInstance
) -> None:
    product.put(document("alice"))
    with time_machine.travel(tick() - timedelta(hours=12), tick=True):
        product.materialise(day=YESTERDAY)
    product.add_project(11)
    product.add_environment(110, project=11, key="other")
    product.add_segment(2, [], project=11)
    at = tick() - timedelta(hours=2)
    before = evaluate(at, instance)
    product.clickhouse.execute("TRUNCATE TABLE identities")

    lost = asked(evaluate(at, instance))
    lose_captures(product)
    neither = asked(evaluate(at, instance))

    assert before == NOTHING
    assert lost == [(str(YESTERDAY), {"identity_snapshots": [10], "segment_counts": [10]})]
    assert neither == [(str(YESTERDAY), {asset: [10] for asset in GRAPH})]


def test_schedule__load_under_way__is_left_to_it(closed: Product, instance: dg.DagsterInstance) -> None:
    closed.clickhouse.execute("TRUNCATE TABLE identities")

    with closed.postgres.lease(f"identities:{YESTERDAY}"):
        assert evaluate(tick(12), instance) == NOTHING


@pytest.mark.parametrize("store", ["postgres", "clickhouse"])
def test_schedule__not_migrated__skips_with_the_repair(
    product: Product, instance: dg.DagsterInstance, store: str
) -> None:
    if store == "postgres":
        product.execute("DROP SCHEMA analytics_pipeline CASCADE")
    else:
        product.clickhouse.execute("DROP TABLE segment_counts")

    answer = evaluate(tick(), instance)

    assert isinstance(answer, str)
    assert answer.startswith("skipped: ")
    assert answer.endswith("Run: analytics-pipeline migrate all")


def test_schedule__run_under_way__waits_for_it(product: Product, instance: dg.DagsterInstance) -> None:
    tags = {"dagster/partition": str(YESTERDAY), "dagster/schedule_name": "segments_closed_days"}
    job = resolved.all_assets_job()
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


@pytest.mark.slow
def test_schedule__feature_is_off_for_all__asks_until_current_counts_are_gone(
    closed: Product, instance: dg.DagsterInstance
) -> None:
    closed.set_flag(1, enabled=False)

    assert asked(evaluate(tick(2), instance)) == [(str(YESTERDAY), {"segment_counts": None})]

    assert closed.materialise("segment_counts", day=YESTERDAY).success
    assert evaluate(tick(3), instance) == NOTHING
    assert (closed.current(), closed.history(YESTERDAY)) == ({}, COUNTS)


@pytest.mark.slow
def test_schedule__feature_is_off_for_some__has_their_current_counts_removed_alone(
    closed: Product, instance: dg.DagsterInstance
) -> None:
    closed.add_organisation(2)
    closed.execute("UPDATE projects SET organisation_id = 2 WHERE id = 11")
    closed.set_flag(2, enabled=False)

    assert asked(evaluate(tick(2), instance)) == [(str(YESTERDAY), {"segment_counts": [11]})]

    assert closed.materialise("segment_counts", day=YESTERDAY, projects=[11]).success
    assert evaluate(tick(3), instance) == NOTHING
    assert (closed.current(), closed.history(YESTERDAY)) == ({(1, 100): (1, "counted")}, COUNTS)


@pytest.mark.slow
def test_schedule__project_is_deleted__its_current_counts_go_with_a_run_for_all(
    closed: Product, instance: dg.DagsterInstance
) -> None:
    for relation in ("segments", "environments"):
        closed.execute(f"DELETE FROM {relation} WHERE project_id = 11")
    closed.execute("DELETE FROM projects WHERE id = 11")

    assert asked(evaluate(tick(2), instance)) == [(str(YESTERDAY), {"segment_counts": None})]

    assert closed.materialise("segment_counts", day=YESTERDAY).success
    assert (evaluate(tick(3), instance), closed.current()) == (NOTHING, {(1, 100): (1, "counted")})


@pytest.mark.slow
def test_schedule__prepared_today_for_the_feature__keeps_the_counts(
    product: Product, instance: dg.DagsterInstance
) -> None:
    product.set_flag(1, enabled=False)
    product.put(document("alice", plan="pro"))
    assert product.materialise(projects=[10], before_exposure=True).success

    assert evaluate(tick(2), instance) == NOTHING
    assert product.current() == {(1, 100): (1, "counted")}


@pytest.mark.slow
def test_schedule__capture_has_wrong_bytes__its_load_is_asked_for_with_long_pauses(
    closed: Product, instance: dg.DagsterInstance
) -> None:
    closed.clickhouse.execute("TRUNCATE TABLE identities")
    unit = unit_of(YESTERDAY, "other")
    (name,) = [file.name for file in closed.landing.stored(unit) if file.name.endswith(".zst")]
    content = bytearray(closed.landing.get(unit, name))
    content[-1] ^= 1
    closed.landing.store.put(f"{unit}/{name}", bytes(content))

    result = closed.materialise("identity_snapshots", day=YESTERDAY)

    assert "differs from its manifest's checksum" in failure_text(result)
    asked_at = []
    for hour in range(8, 24):
        answer = evaluate(tick(hour), instance)
        if not isinstance(answer, str):
            assert asked(answer) == [(str(YESTERDAY), {"identity_snapshots": [11], "segment_counts": None})]
            asked_at.append(hour)
            with time_machine.travel(tick(hour)):
                _fail(instance, answer[0])
    assert asked_at == [8, 9, 10, 11, 14, 19]


def _fail(instance: dg.DagsterInstance, request: dg.RunRequest) -> None:
    job, tags = resolved.all_assets_job(), dict(request.tags)
    instance.report_run_failed(instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=tags))
