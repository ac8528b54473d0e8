"""Figures of product events through Dagster: what the schedule asks for is computed, and the checks look at it."""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import dagster as dg
import pytest

from analytics_pipeline.assets.product_events import ALL
from analytics_pipeline.flows.audited import Audited
from analytics_pipeline.flows.dead_letters import DeadLetter, add_dead_letters
from analytics_pipeline.flows.product_events.aggregates.tables import TASK_STATS
from analytics_pipeline.flows.product_events.audit import FigureDifference, expired_days, figure_differences
from tests import resolved
from tests.checks.test_checks import findings, outcomes
from tests.flows.product_events.events import OTHER, an_id, at, event, store
from tests.flows.product_events.test_build import build
from tests.product import Product, failure_text, today
from tests.thorough import THOROUGH

NAMES = [asset.key.to_user_string() for asset in ALL]
SOURCE_CHECKS = {"no_event_twice", "no_event_lost", "retention_holds", "clocks_agree", "few_events_refused"}


def requests(instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    """What the schedule asks for at a tick of this hour."""
    tick = datetime.now(timezone.utc).replace(minute=5, second=0, microsecond=0)
    context = dg.build_schedule_context(
        instance=instance, scheduled_execution_time=tick, repository_def=resolved.repository()
    )
    answer = resolved.repository().get_schedule_def("hourly_product_events").evaluate_tick(context)
    return list(answer.run_requests or [])


def days_of(request: dg.RunRequest) -> tuple[str, str]:
    tags = request.tags
    return tags["dagster/asset_partition_range_start"], tags["dagster/asset_partition_range_end"]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as made:
        yield made


def test_schedule__late_events__asks_for_three_days_in_one_run_and_for_the_days_that_they_touched(
    empty_product: Product, instance: dg.DagsterInstance
) -> None:
    store(empty_product.clickhouse, [event(number, at(days)) for number, days in enumerate((11, 10, 0))])
    recent = (_day(2), _day(0))
    asked = requests(instance)
    assert [days_of(request) for request in asked] == [recent, (_day(11), _day(10))]
    assert [request.tags.get("dagster/priority") for request in asked] == [None, "-1"]
    schedule = resolved.repository().get_schedule_def("hourly_product_events")
    if not THOROUGH:
        # As the run of the older days does, but for its checks.
        build(empty_product, [today() - timedelta(days=ago) for ago in (11, 10)])
    for request in asked if THOROUGH else asked[:1]:
        # As the daemon launches it: with the checks, also those of the events, which are in no partition.
        result = (
            resolved.repository()
            .get_job(schedule.job_name)
            .execute_in_process(instance=instance, tags=request.tags, raise_on_error=False)
        )
        assert result.success, failure_text(result)
        looked = outcomes(result)
        assert {*looked} == {"figures_equal_events", "nothing_of_forgotten_subjects_is_left", *SOURCE_CHECKS}
        assert [check for check, passed in looked.items() if not passed] in ([], ["clocks_agree"])
    # Whatever is known of them, the last days are computed again; of the others there is nothing to compute.
    assert [days_of(request) for request in requests(instance)] == [recent]


def _day(days_ago: int) -> str:
    return (today() - timedelta(days=days_ago)).isoformat()


def test_assets__materialised_twice__pass_all_checks_and_say_what_they_are_of(empty_product: Product) -> None:
    moment = at(1)
    store(
        empty_product.clickhouse,
        [
            event(1, moment, user_id=an_id(1), event_type="task_created"),
            event(2, moment, user_id=an_id(1), event_type="task_completed", duration_ms=500, skew_ms=10),
            event(3, moment, organisation_id=OTHER, event_type="application_error", error_type="io"),
        ],
    )
    for _ in range(2):
        result = empty_product.materialise(*NAMES, day=moment.date(), checks=True)
        assert result.success, failure_text(result)
        checked = result.get_asset_check_evaluations()
        assert {(one.asset_key.to_user_string(), one.passed) for one in checked} == {(name, True) for name in NAMES}
        (made,) = result.asset_materializations_for_node("analytics_task_stats_daily")
        assert (made.metadata["dagster/partition_row_count"].value, made.metadata["events"].value) == (1, 3)
    for check in SOURCE_CHECKS - {"few_events_refused", "clocks_agree"}:
        assert outcomes(empty_product.check("analytics_events", check)) == {check: True}


def test_figures_check__a_figure_is_wrong__is_found(empty_product: Product) -> None:
    moment = at(1)
    store(empty_product.clickhouse, [event(1, moment, event_type="task_created")])
    assert empty_product.materialise("analytics_task_stats_daily", day=moment.date()).success
    empty_product.clickhouse.execute(
        "INSERT INTO analytics_task_stats_daily SELECT * REPLACE (2 AS created, toUInt64(7) AS organisation_id)"
        " FROM analytics_task_stats_daily FINAL"
    )
    result = empty_product.materialise("analytics_task_stats_daily", day=moment.date(), checks=True)
    assert outcomes(result) == {"figures_equal_events": True}
    empty_product.clickhouse.execute(
        "INSERT INTO analytics_task_stats_daily SELECT * REPLACE (2 AS created) FROM analytics_task_stats_daily FINAL"
    )
    found = figure_differences(empty_product.postgres, empty_product.clickhouse, TASK_STATS, [moment.date()])
    assert found == Audited(1, [FigureDifference(moment.date(), 1, "created", 2.0, 1.0)])
    # Of a day whose events are not all there nothing can be said.
    empty_product.clickhouse.execute("TRUNCATE TABLE analytics_events")
    found = figure_differences(empty_product.postgres, empty_product.clickhouse, TASK_STATS, [moment.date()])
    assert found == Audited(0, [])


def test_source_checks__each_fault__is_found_by_the_check_that_is_for_it(empty_product: Product) -> None:
    moment = at(1)
    store(
        empty_product.clickhouse,
        [event(number, moment, skew_ms=0, service="web") for number in range(3)]
        + [event(3, moment, skew_ms=-61_000, service="worker")],
    )
    assert empty_product.materialise("daily_event_counts", day=moment.date()).success
    # Another time stamp makes another row of the same event.
    store(empty_product.clickhouse, [event(2, at(0, 0)), event(9, at(40))])
    with empty_product.postgres.connect() as connection:
        add_dead_letters(connection, "product_events", "1", [DeadLetter("a", "user_id: not a UUID", "{}")], "run")
    empty_product.clickhouse.execute("ALTER TABLE analytics_events DROP PARTITION {day:String}", day=f"{moment.date()}")
    store(empty_product.clickhouse, [event(2, moment, skew_ms=61_000, service="worker")])

    def found(check: str) -> list[dict[str, object]]:
        return findings(empty_product.check("analytics_events", check), check)

    assert found("no_event_twice") == [{"organisation": 1, "repeated": 1}]
    assert expired_days(empty_product.clickhouse, today(), 37).found == [at(40).date()]
    assert expired_days(empty_product.clickhouse, today(), 38).found == []
    assert found("no_event_lost") == [{"day": _day(1), "figures_of": 4, "held": 1}]
    assert found("few_events_refused") == [{"dead_letters": 1}]
    store(empty_product.clickhouse, [event(20, at(0, 0), skew_ms=-61_000, service="worker")])
    assert found("clocks_agree") == [{"events": 1, "most_of_service": "worker", "beyond_seconds": 60}]
