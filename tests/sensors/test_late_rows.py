"""The sensor that follows the source, and the schedule that closes days: what they ask for, and when they are done."""

from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from typing import Any
from unittest import mock

import dagster as dg
import pytest

from analytics_pipeline.flows.daily_copy.changed import days_in_turn
from analytics_pipeline.flows.daily_copy.copy import DayCopy
from analytics_pipeline.flows.reporting.source import REPORTING_EVENTS
from analytics_pipeline.orchestration.partitions import range_tags
from analytics_pipeline.schedules.reporting import reporting_closed_days
from analytics_pipeline.sensors.reporting import reporting_late_rows
from tests import resolved
from tests.flows.reporting.desk import add_account, add_event, build, compute, copy, covered, rollups
from tests.product import Product, today
from tests.sensors.enablement import launch

Requested = list[tuple[str, str, str]]
UP_TO_DATE = "ClickHouse holds what the source does, or a run for the rest is under way, or pauses after failures"
YESTERDAY, TODAY, TOMORROW = (today() + timedelta(days=number) for number in (-1, 0, 1))


def noon(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=timezone.utc)


def requested(requests: list[dg.RunRequest] | None) -> Requested:
    """(asset, first day, last day) of each request."""
    found = []
    for request in requests or []:
        ((asset,), tags) = [key.to_user_string() for key in request.asset_selection or []], request.tags
        found.append((asset, tags["dagster/asset_partition_range_start"], tags["dagster/asset_partition_range_end"]))
    return found


def evaluate(instance: dg.DagsterInstance) -> tuple[list[dg.RunRequest], str]:
    """What the sensor asks for, and why it asks for nothing."""
    repository = resolved.repository()
    context = dg.build_sensor_context(instance=instance, repository_def=repository)
    answer = reporting_late_rows.evaluate_tick(context)
    return list(answer.run_requests or []), str(answer.skip_message)


def tick() -> Requested | str:
    with dg.DagsterInstance.ephemeral() as instance:
        requests, reason = evaluate(instance)
    return requested(requests) or reason


def hourly(now: datetime) -> Requested | str:
    with dg.instance_for_test() as instance:
        answer = reporting_closed_days.evaluate_tick(
            dg.build_schedule_context(instance=instance, scheduled_execution_time=now)
        )
    return requested(list(answer.run_requests or [])) or str(answer.skip_message)


def follow(product: Product, ask: Callable[[], Requested | str] = tick, limit: int = 5) -> list[Requested]:
    """Tick and run what is asked for until nothing is; returns what was asked for."""
    asked: list[Requested] = []
    for _ in range(limit):
        found = ask()
        if isinstance(found, str):
            return asked
        asked.append(found)
        for asset, first, last in found:
            tags = range_tags(date.fromisoformat(first), date.fromisoformat(last))
            assert product.materialise(asset, tags=tags).success
    raise AssertionError(f"the sensor never comes to rest: {asked}")


def test_sensor__no_account_has_a_zone__asks_for_nothing(empty_product: Product) -> None:
    add_account(empty_product, 1, None)
    add_event(empty_product, "first_response", noon(TODAY))

    assert tick() == UP_TO_DATE


def test_sensor__new_rows_today__are_copied_then_rolled_up_then_left_alone(empty_product: Product) -> None:
    add_account(empty_product, 1, "Pacific/Apia")
    add_event(empty_product, "first_response", noon(TODAY), value=3)

    asked = follow(empty_product)

    assert asked == [
        [("reporting_events", str(YESTERDAY), str(TODAY))],
        [("reporting_rollups", str(YESTERDAY), str(TOMORROW))],
    ]
    # Noon of UTC is tomorrow in Apia.
    assert rollups(empty_product) == {(1, str(TOMORROW), "account", 1, "first_response"): (1, 3, 0)}

    add_event(empty_product, "first_response", noon(TODAY), value=4)
    assert [one for asked in follow(empty_product) for one in asked] == [
        ("reporting_events", str(TODAY), str(TODAY)),
        ("reporting_rollups", str(TODAY), str(TOMORROW)),
    ]
    assert rollups(empty_product) == {(1, str(TOMORROW), "account", 1, "first_response"): (2, 7, 0)}


def test_sensor__late_row_of_an_old_day__asks_for_that_day_and_its_covered_dates_alone(empty_product: Product) -> None:
    add_account(empty_product, 1, "America/New_York")
    old = TODAY - timedelta(days=100)
    follow(empty_product)
    add_event(empty_product, "first_response", noon(old), value=1)
    assert [one for asked in follow(empty_product) for one in asked] == [("reporting_events", str(old), str(old))]
    assert rollups(empty_product) == {}  # its history has not been asked for

    compute(empty_product, old - timedelta(days=1), old + timedelta(days=1))
    add_event(empty_product, "first_response", noon(old), value=1)

    assert [one for asked in follow(empty_product) for one in asked] == [
        ("reporting_events", str(old), str(old)),
        ("reporting_rollups", str(old - timedelta(days=1)), str(old)),
    ]
    assert rollups(empty_product) == {(1, str(old), "account", 1, "first_response"): (2, 2, 0)}


@pytest.mark.slow
def test_sensor__zone_changes__recomputes_the_current_dates(empty_product: Product) -> None:
    add_account(empty_product, 1, "America/New_York")
    follow(empty_product)

    add_account(empty_product, 1, "Asia/Kolkata")

    assert follow(empty_product) == [[("reporting_rollups", str(YESTERDAY), str(TOMORROW))]]
    assert {row[2] for row in covered(empty_product)} == {"Asia/Kolkata"}


def test_sensor__today_and_years_of_the_past_are_stale__today_goes_first_and_never_waits(
    empty_product: Product,
) -> None:
    add_account(empty_product, 1, "Etc/UTC")
    old = TODAY - timedelta(days=40)
    build(empty_product, old, TODAY)
    follow(empty_product)
    copy(empty_product, old, TODAY)
    live = ("reporting_rollups", str(YESTERDAY), str(TOMORROW))
    past = ("reporting_rollups", str(old), str(TODAY - timedelta(days=2)))

    with dg.DagsterInstance.ephemeral() as instance:
        requests, _ = evaluate(instance)
        job = resolved.all_assets_job()
        instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=dict(requests[1].tags))
        meanwhile, _ = evaluate(instance)

    assert requested(requests) == [live, past]
    assert [request.tags.get("dagster/priority") for request in requests] == [None, "-1"]
    assert requested(meanwhile) == [live]


def test_sensor__run_failed_or_was_skipped__is_asked_for_again_at_once_and_then_after_a_pause(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_account(empty_product, 1, "Etc/UTC")
    old = TODAY - timedelta(days=40)
    today_ = ("reporting_events", str(YESTERDAY), str(TODAY))
    with dg.DagsterInstance.ephemeral() as instance:
        ((first,), _) = evaluate(instance)
        with monkeypatch.context() as environment:
            environment.delenv("CLICKHOUSE_URL")
            assert launch(instance, first).success
        ((second,), _) = evaluate(instance)
        empty_product.clickhouse.execute("ALTER TABLE reporting_events DROP COLUMN value")
        assert not launch(instance, second).success
        assert requested([first, second]) == [today_, today_]
        assert evaluate(instance) == ([], UP_TO_DATE)

        # What fails keeps nothing else waiting.
        add_event(empty_product, "first_response", noon(old))
        assert requested(evaluate(instance)[0]) == [("reporting_events", str(old), str(old))]


@pytest.mark.slow
def test_sensor__rollup_is_still_needed__is_asked_for_again_with_the_next_tick(empty_product: Product) -> None:
    """Nothing of the source has changed since: the date went stale once more while its run worked."""
    add_account(empty_product, 1, "Etc/UTC")
    follow(empty_product)
    stale = "UPDATE analytics_pipeline.reporting_coverage SET registry_version = 'before' WHERE date = %s"
    with dg.DagsterInstance.ephemeral() as instance:
        for _ in range(4):
            empty_product.execute(stale, TODAY)
            ((request,), _reason) = evaluate(instance)
            assert requested([request]) == [("reporting_rollups", str(TODAY), str(TODAY))]
            assert launch(instance, request).success
        assert evaluate(instance) == ([], UP_TO_DATE)


def test_sensor__run_under_way__adds_none_to_its_queue(empty_product: Product) -> None:
    add_account(empty_product)
    with mock.patch.object(dg.DagsterInstance, "get_runs_count", return_value=1):
        assert tick() == UP_TO_DATE


@pytest.mark.parametrize("ask", [tick, lambda: hourly(datetime.now(timezone.utc))])
def test_requests__store_or_relation_is_missing__are_skipped_with_the_reason(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch, ask: Callable[[], Any]
) -> None:
    empty_product.execute("DROP TABLE accounts CASCADE")
    assert ask().startswith('skipped: Postgres: relation "accounts" does not exist. Run: analytics-pipeline doctor')

    monkeypatch.delenv("CLICKHOUSE_URL")
    assert ask() == "skipped: clickhouse_not_configured"


def test_schedule__closed_days__are_copied_after_their_end_and_rolled_up(empty_product: Product) -> None:
    add_account(empty_product, 1, "Asia/Kathmandu")
    first = TODAY - timedelta(days=7)
    now = noon(TODAY)

    assert follow(empty_product, lambda: hourly(now)) == [
        [("reporting_events", str(first - timedelta(days=1)), str(YESTERDAY))],
        [("reporting_rollups", str(first), str(YESTERDAY))],
    ]
    assert {row[3] for row in covered(empty_product)} == {True}

    # Yesterday was copied before its end.
    empty_product.execute(
        "UPDATE analytics_pipeline.source_copies SET copied_at = %s WHERE day = %s", noon(YESTERDAY), YESTERDAY
    )
    assert follow(empty_product, lambda: hourly(now))[0] == [("reporting_events", str(YESTERDAY), str(YESTERDAY))]
    assert hourly(now) == "every closed day is copied and rolled up"


def test_schedule__rows_deleted_or_moved_at_the_source__follow_within_the_hour(empty_product: Product) -> None:
    add_account(empty_product, 1, "Etc/UTC")
    day = TODAY - timedelta(days=4)
    for hour in (1, 2):
        moment = noon(day) + timedelta(hours=hour)
        add_event(empty_product, "reply_time", moment, value=1, updated_at=moment)
    now = noon(TODAY)
    follow(empty_product, lambda: hourly(now))
    follow(empty_product)
    empty_product.execute("DELETE FROM reporting_events WHERE created_at = %s", noon(day) + timedelta(hours=1))

    assert tick() == UP_TO_DATE
    assert follow(empty_product, lambda: hourly(now)) == [
        [("reporting_events", str(day), str(day))],
        [("reporting_rollups", str(day), str(day))],
    ]
    assert rollups(empty_product)[1, str(day), "account", 1, "reply_time"] == (1, 1, 0)


@pytest.mark.slow
def test_schedule__rows_of_an_old_day_are_deleted_or_moved__follow_when_it_is_the_days_turn(
    empty_product: Product,
) -> None:
    add_account(empty_product, 1, "Etc/UTC")
    now = noon(TODAY)
    (old,) = days_in_turn(TODAY - timedelta(days=187), TODAY - timedelta(days=20), now)
    other = old + timedelta(days=1)
    for day, value in ((old, 1), (old, 2), (other, 4)):
        add_event(empty_product, "reply_time", noon(day), value=value, updated_at=noon(day))
    build(empty_product, old, YESTERDAY)
    follow(empty_product)
    empty_product.execute("DELETE FROM reporting_events WHERE value = 1")
    empty_product.execute("UPDATE reporting_events SET created_at = %s WHERE value = 2", noon(other))

    assert tick() == UP_TO_DATE
    assert follow(empty_product, lambda: hourly(now)) == [
        [("reporting_events", str(old), str(old))],
        [("reporting_rollups", str(old), str(old))],
    ]
    assert rollups(empty_product) == {(1, str(other), "account", 1, "reply_time"): (1, 4, 0)}
    assert follow(empty_product, lambda: hourly(now + timedelta(hours=1))) == [
        [("reporting_events", str(other), str(other))],
        [("reporting_rollups", str(other), str(other))],
    ]
    assert rollups(empty_product) == {(1, str(other), "account", 1, "reply_time"): (2, 6, 0)}


@pytest.mark.slow
def test_schedule__daemon_was_off_for_weeks__fills_the_hole(empty_product: Product) -> None:
    """Neither the sensor's watermark nor the seven days of the schedule would look at days without events."""
    add_account(empty_product, 1, "Etc/UTC")
    long_ago = TODAY - timedelta(days=20)
    build(empty_product, long_ago, long_ago)

    asked = follow(empty_product, lambda: hourly(noon(TODAY)))

    assert asked[0] == [("reporting_events", str(long_ago + timedelta(days=2)), str(YESTERDAY))]
    days = {row[1] for row in covered(empty_product)}
    assert {str(long_ago + timedelta(days=number)) for number in range(20)} <= days
    assert hourly(noon(TODAY)) == "every closed day is copied and rolled up"


@pytest.mark.slow
def test_schedule__registry_has_changed__all_rollups_are_computed_again(empty_product: Product) -> None:
    add_account(empty_product, 1, "Etc/UTC")
    long_ago = TODAY - timedelta(days=20)
    build(empty_product, long_ago, YESTERDAY)
    follow(empty_product, lambda: hourly(noon(TODAY)))
    empty_product.execute("UPDATE analytics_pipeline.reporting_coverage SET registry_version = 'before'")

    assert follow(empty_product, lambda: hourly(noon(TODAY))) == [
        [("reporting_rollups", str(long_ago), str(YESTERDAY))],
    ]


@pytest.mark.slow
def test_sensor__older_reading_becomes_visible_later__is_rolled_up(empty_product: Product) -> None:
    """A copy of a long range is read before its neighbour's and swapped after it: when it was read tells nothing."""
    add_account(empty_product, 1, "Asia/Kolkata")
    old = TODAY - timedelta(days=40)
    add_event(empty_product, "reply_time", noon(old), value=1)
    build(empty_product, old, old)
    follow(empty_product)
    add_event(empty_product, "reply_time", noon(old), value=1, updated_at=noon(old))
    DayCopy(REPORTING_EVENTS, empty_product.postgres, empty_product.clickhouse, "slow").copy(old, old)
    empty_product.execute("UPDATE analytics_pipeline.source_copies SET copied_at = %s WHERE day = %s", noon(old), old)

    assert follow(empty_product) == [[("reporting_rollups", str(old), str(old))]]
    assert rollups(empty_product)[1, str(old), "account", 1, "reply_time"] == (2, 2, 0)
