"""The sensor and the schedule that follow AI usage once its history is there."""

from datetime import datetime, timedelta, timezone

import dagster as dg
import pytest

from analytics_pipeline.flows.ai_usage.daily import DailyUsage
from analytics_pipeline.flows.ai_usage.source import DUO_CHAT_EVENTS
from analytics_pipeline.flows.daily_copy.changed import days_in_turn
from analytics_pipeline.flows.daily_copy.copy import DayCopy
from analytics_pipeline.orchestration.requests import NOTHING
from analytics_pipeline.schedules.ai_usage import ai_usage_closed_days
from analytics_pipeline.sensors.ai_usage import ai_usage_late_rows
from tests.product import Product, today
from tests.sensors.enablement import (
    ASSETS,
    FIRST,
    RANGE,
    assert_complete,
    at,
    days,
    late_rows,
    launch,
    occurrences,
    settle,
    tick,
)


@pytest.fixture
def product(ai_product: Product) -> Product:
    return ai_product


def test_sync__off_on_without_history_and_during_it__tells_them_apart(
    product: Product, instance: dg.DagsterInstance
) -> None:
    def reason() -> str | None:
        return ai_usage_late_rows.evaluate_tick(dg.build_sensor_context(instance=instance)).skip_message

    said = [reason()]
    product.switch_ai_usage(on=True, flag=False)
    said.append(reason())
    product.switch_ai_usage(on=True)
    (request,) = tick(instance)
    said.append(reason())
    assert launch(instance, request).success
    assert tick(instance) == []
    said.append(reason())

    assert said == [
        "AI usage is switched off",
        "no history of AI usage has been asked for yet",
        "AI usage is on, and its history is still being brought in",
        NOTHING,
    ]


@pytest.mark.slow
def test_sync__flag_off_after_the_history__goes_on_until_the_setting_is_off(
    product: Product, instance: dg.DagsterInstance
) -> None:
    product.switch_ai_usage(on=True)
    settle(instance)
    product.switch_ai_usage(on=True, flag=False)
    assert settle(instance) == []
    product.add_chat(at(today(), 0), user=5)

    (request,) = late_rows(instance)
    assert launch(instance, request).success
    assert_complete(product)

    product.switch_ai_usage(on=False, flag=False)
    product.add_chat(at(today(), 0), user=6)
    assert late_rows(instance) == []
    product.switch_ai_usage(on=True, flag=False)
    (request,) = late_rows(instance)
    assert launch(instance, request).success
    assert_complete(product)


def test_sync__history_was_given_up__today_follows_all_the_same(product: Product, instance: dg.DagsterInstance) -> None:
    product.switch_ai_usage(on=True)
    settle(instance)
    product.execute("UPDATE analytics_pipeline.enablements SET state = 'failed'")
    product.add_chat(at(today(), 0), user=5)

    assert [request.tags[RANGE[0]] for request in late_rows(instance)] == [str(today())]


@pytest.mark.slow
def test_sync__days_were_read_before_they_ended__once_more(product: Product, instance: dg.DagsterInstance) -> None:
    """A row with an old `created_at` leaves no trace that the watermark could find."""
    product.switch_ai_usage(on=True)
    settle(instance)
    yesterday = today() - timedelta(days=1)
    product.execute("UPDATE analytics_pipeline.enablements SET last_day = %s", yesterday)
    product.execute(
        "UPDATE analytics_pipeline.source_copies SET copied_at = %s WHERE day = %s", at(yesterday), yesterday
    )
    product.add_chat(at(yesterday), user=5, created_at=at(FIRST))

    (request,) = late_rows(instance)
    assert (request.tags[RANGE[0]], request.tags[RANGE[1]]) == (str(yesterday), str(yesterday))
    assert launch(instance, request).success
    assert_complete(product)
    assert late_rows(instance) == []


def hourly(now: datetime) -> list[dg.RunRequest] | str:
    """What the schedule asks for, or why it asks for nothing."""
    with dg.instance_for_test() as instance:
        context = dg.build_schedule_context(instance=instance, scheduled_execution_time=now)
        answer = ai_usage_closed_days.evaluate_tick(context)
    return list(answer.run_requests or []) or str(answer.skip_message)


def test_schedule__rows_are_deleted_or_moved__follow_within_the_hour_or_when_it_is_the_days_turn(
    product: Product, instance: dg.DagsterInstance
) -> None:
    now = datetime.now(timezone.utc)
    (old,) = days_in_turn(today() - timedelta(days=187), today() - timedelta(days=20), now)
    for relation in ("ai_duo_chat_events", "ai_code_suggestion_events"):
        product.execute(f"UPDATE {relation} SET created_at = timestamp")
    product.switch_ai_usage(on=True)
    settle(instance)
    product.add_chat(at(old), user=5, created_at=at(old))
    assert product.materialise(*ASSETS, day=old).success
    (days_between,) = late_rows(instance)
    assert tuple(days_between.tags[name] for name in RANGE) == days(old + timedelta(days=1), FIRST - timedelta(days=1))
    assert launch(instance, days_between).success
    product.execute("DELETE FROM ai_duo_chat_events WHERE user_id = 5 OR timestamp::date = %s", FIRST)
    product.execute(
        "UPDATE ai_code_suggestion_events SET timestamp = timestamp + interval '25 hours' WHERE timestamp::date = %s",
        FIRST,
    )
    assert late_rows(instance) == []

    requests = hourly(now)

    assert [tuple(request.tags[name] for name in RANGE) for request in requests if not isinstance(request, str)] == [
        days(old, old),
        days(FIRST, FIRST + timedelta(days=1)),
    ]
    for request in requests:
        assert not isinstance(request, str)
        assert product.materialise(*ASSETS, tags=request.tags).success
    assert_complete(product)
    assert hourly(now) == "every closed day that was compared is as the source holds it"


def test_schedule__switched_off_or_not_configured__asks_for_nothing(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(timezone.utc)
    assert hourly(now) == "AI usage is switched off"

    monkeypatch.delenv("CLICKHOUSE_URL")
    assert hourly(now) == "skipped: clickhouse_not_configured"


def test_sync__late_rows_all_over_the_past__are_brought_in_ten_ranges_at_a_time_the_newest_first_after_today(
    product: Product, instance: dg.DagsterInstance
) -> None:
    product.switch_ai_usage(on=True)
    settle(instance)
    for number in range(15):
        product.add_chat(at(today() - timedelta(days=2 * number)))

    found = [request.tags[RANGE[0]] for request in late_rows(instance)]

    assert found == [str(today() - timedelta(days=2 * number)) for number in range(11)]


@pytest.mark.slow
def test_figures__copy_becomes_visible_while_they_are_counted__are_counted_again(
    product: Product, instance: dg.DagsterInstance
) -> None:
    """The copy was read before the figures were counted and swapped after: they lack what it brought."""
    product.switch_ai_usage(on=True)
    settle(instance)
    product.add_chat(at(FIRST, 15))

    def meanwhile(_: int) -> None:
        DailyUsage(product.clickhouse, product.postgres, "other").build(FIRST, FIRST)

    DayCopy(DUO_CHAT_EVENTS, product.postgres, product.clickhouse, "run", meanwhile).copy(FIRST, FIRST)
    assert occurrences(product) == 8

    (request,) = late_rows(instance)
    assert request.tags[RANGE[0]] == str(FIRST)
    assert launch(instance, request).success
    assert occurrences(product) == 9
