"""The enablement sensor: a feature's history is asked for when it is switched on, and exactly once."""

from dataclasses import replace
from datetime import date, timedelta

import dagster as dg
import pytest

from analytics_pipeline.flows.ai_usage import daily
from analytics_pipeline.flows.ai_usage.daily import DailyUsage
from analytics_pipeline.flows.enablement.ledger import EnablementLedger
from analytics_pipeline.flows.reporting import feature as reporting
from analytics_pipeline.resources.postgres import Postgres
from tests import resolved
from tests.product import Product, today
from tests.sensors.enablement import (
    FIRST,
    RANGE,
    add_account,
    asked,
    assert_complete,
    at,
    days,
    late_rows,
    launch,
    make_due,
    newest,
    occurrences,
    settle,
    stored,
    tick,
)
from tests.thorough import rarely


@pytest.fixture
def product(ai_product: Product) -> Product:
    return ai_product


def test_scenario__flag_off_and_setting_turned_on__copies_nothing(
    product: Product, instance: dg.DagsterInstance
) -> None:
    product.switch_ai_usage(on=True, flag=False)

    assert settle(instance) == []
    assert stored(product)[0] == []


def test_scenario__flag_on_and_setting_turned_on__copies_every_row_of_both_sources(
    product: Product, instance: dg.DagsterInstance
) -> None:
    product.switch_ai_usage(on=False)
    assert settle(instance) == []
    product.switch_ai_usage(on=True)

    assert settle(instance) == [("ai_usage:instance:1:1", days(FIRST, today()))]
    assert_complete(product)
    epoch = newest(product)
    assert (epoch.state, epoch.rows, epoch.first_day, epoch.last_day) == ("completed", 8, FIRST, today())
    assert settle(instance) == []


def test_scenario__on_off_and_on_again__count_is_unchanged_and_only_the_gap_is_asked_for(
    product: Product, instance: dg.DagsterInstance
) -> None:
    product.switch_ai_usage(on=True)
    settle(instance)
    product.switch_ai_usage(on=False)
    assert settle(instance) == []
    product.switch_ai_usage(on=True)

    # Today has not ended: what happened while it was off is in no copy.
    assert settle(instance) == [("ai_usage:instance:2:1", days(today(), today()))]
    assert_complete(product)


@pytest.mark.slow
def test_scenario__off_for_days__those_that_the_ledgers_or_clickhouse_lack_are_asked_for(
    product: Product, instance: dg.DagsterInstance
) -> None:
    product.switch_ai_usage(on=True)
    settle(instance)
    product.switch_ai_usage(on=False)
    settle(instance)
    yesterday, lost = today() - timedelta(days=1), today() - timedelta(days=2)
    # Never copied, as when it was off; and lost while nobody looked.
    product.execute("DELETE FROM analytics_pipeline.source_copies WHERE day = %s", yesterday)
    product.clickhouse.execute(f"ALTER TABLE duo_chat_events DROP PARTITION ID '{lost:%Y%m%d}'")
    product.switch_ai_usage(on=True)

    assert settle(instance) == [("ai_usage:instance:2:1", days(lost, today()))]
    assert_complete(product)


def test_scenario__another_setting_saved__nothing_happens(product: Product, instance: dg.DagsterInstance) -> None:
    product.switch_ai_usage(on=False)
    product.execute("UPDATE application_settings SET export_usage_telemetry = '{}', updated_at = now()")

    assert settle(instance) == []


@pytest.mark.slow
def test_scenario__saved_on_while_on__nothing_happens(product: Product, instance: dg.DagsterInstance) -> None:
    product.switch_ai_usage(on=True)
    settle(instance)
    product.switch_ai_usage(on=True)

    assert settle(instance) == []
    assert newest(product).epoch == 1


@pytest.mark.slow
def test_scenario__clickhouse_not_configured__is_asked_for_when_it_is_configured_later(
    product: Product, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    product.switch_ai_usage(on=True)
    with monkeypatch.context() as environment:
        environment.delenv("CLICKHOUSE_URL")
        assert settle(instance) == []

    assert settle(instance) == [("ai_usage:instance:1:1", days(FIRST, today()))]
    assert_complete(product)


def test_scenario__clickhouse_gone_when_the_run_works__is_skipped_and_asked_for_again(
    product: Product, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    product.switch_ai_usage(on=True)
    (request,) = tick(instance)
    with monkeypatch.context() as environment:
        environment.delenv("CLICKHOUSE_URL")
        assert launch(instance, request).success
    assert tick(instance) == []
    assert (newest(product).state, newest(product).attempt) == ("requested", 2)
    make_due(product)

    assert settle(instance) == [("ai_usage:instance:1:2", days(FIRST, today()))]


def test_scenario__off_when_the_run_works__does_nothing(product: Product, instance: dg.DagsterInstance) -> None:
    product.switch_ai_usage(on=True)
    (request,) = tick(instance)
    product.switch_ai_usage(on=False)
    assert tick(instance) == []

    result = launch(instance, request)

    assert result.success
    assert [event.asset_observation_data.asset_observation.metadata["status"].value for event in _skips(result)] == [
        "skipped: not_claimed"
    ] * (4 * 2)
    assert stored(product)[0] == []


def _skips(result: dg.ExecuteInProcessResult) -> list[dg.DagsterEvent]:
    return [event for event in result.all_events if event.event_type_value == "ASSET_OBSERVATION"]


@pytest.mark.slow
def test_scenario__another_build_never_ends__is_skipped_and_tried_again(
    product: Product, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daily, "_PATIENCE", timedelta(milliseconds=10))
    product.switch_ai_usage(on=True)
    (request,) = tick(instance)
    with product.postgres.lease("ai_usage_daily"):
        assert launch(instance, request).success
    assert tick(instance) == []
    assert newest(product).state == "requested"
    make_due(product)

    assert settle(instance) == [("ai_usage:instance:1:2", days(FIRST, today()))]
    assert_complete(product)


@pytest.mark.slow
def test_scenario__equal_rows_are_there_already__collapse(product: Product, instance: dg.DagsterInstance) -> None:
    product.switch_ai_usage(on=True)
    product.clickhouse.execute(
        "INSERT INTO duo_chat_events (id, user_id, event, namespace_path, timestamp)"
        " VALUES (1, 1, 1, '0/', {at:DateTime64(3, 'UTC')})",
        at=at(FIRST),
    )

    settle(instance)

    assert_complete(product)


def test_scenario__same_run_twice__the_second_does_nothing(product: Product, instance: dg.DagsterInstance) -> None:
    product.switch_ai_usage(on=True)
    (request,) = tick(instance)
    assert launch(instance, request).success
    tick(instance)

    result = launch(instance, request)

    assert result.success
    assert result.asset_materializations_for_node("duo_chat_events") == []
    assert_complete(product)


@pytest.mark.slow
@pytest.mark.parametrize("times", [2, *rarely(10)])
def test_scenario__off_and_on_again_and_again_with_writes_between__nothing_is_missing_or_there_twice(
    product: Product, instance: dg.DagsterInstance, times: int
) -> None:
    """Rows are written while it is on, while it is off, and late for an old day; each gap asks for its days alone."""
    product.switch_ai_usage(on=True)
    assert settle(instance) == [("ai_usage:instance:1:1", days(FIRST, today()))]
    gap = days(today() - timedelta(days=1), today())
    for number in range(2, 2 + times):
        product.add_chat(at(today(), 0), user=number)
        product.switch_ai_usage(on=False)
        assert settle(instance) == []
        product.add_suggestion(at(today() - timedelta(days=1)), user=number)
        product.switch_ai_usage(on=True)

        assert settle(instance) == [(f"ai_usage:instance:{number}:1", gap)]
        assert_complete(product)
    assert (newest(product).epoch, newest(product).state) == (1 + times, "completed")


@pytest.mark.slow
def test_scenario__rows_arrive_while_the_history_comes_in__are_not_lost(
    product: Product, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row for a day that was copied a moment ago: the figures lack it with its events, and both follow."""
    build = DailyUsage.build

    def arriving(self: DailyUsage, first: date, last: date) -> dict[date, int]:
        product.add_chat(at(FIRST), user=9)
        return build(self, first, last)

    product.switch_ai_usage(on=True)
    with monkeypatch.context() as patch:
        patch.setattr(DailyUsage, "build", arriving)
        assert len(settle(instance)) == 1
    assert occurrences(product) == 8

    (request,) = late_rows(instance)
    assert request.tags[RANGE[0]] == str(FIRST)
    assert launch(instance, request).success
    assert_complete(product)
    assert occurrences(product) == 9


@pytest.mark.parametrize(
    "moment", ["0001-01-01 00:00Z", *rarely("4000-01-01 BC"), "infinity", *rarely("-infinity", "9999-12-31 23:00Z")]
)
def test_tick__event_of_no_calendar__is_in_no_history_and_stops_nobody(
    product: Product, instance: dg.DagsterInstance, moment: str
) -> None:
    add_account(product, 7, "America/New_York")
    product.execute("INSERT INTO ai_duo_chat_events (timestamp, user_id, event) VALUES (%s::timestamptz, 1, 1)", moment)
    product.execute(
        "INSERT INTO reporting_events (name, account_id, created_at) VALUES ('x', 7, %s::timestamptz)", moment
    )
    product.switch_ai_usage(on=True)

    tick(instance)

    assert (newest(product).first_day, newest(product).source_first_day) == (FIRST, FIRST)
    assert newest(product, "account:7", "reporting").first_day == FIRST


def test_tick__scope_that_cannot_be_looked_at__stops_no_other(
    empty_product: Product, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    for account in (7, 8):
        add_account(empty_product, account, "Asia/Kolkata")
    history = reporting.history

    def failing(postgres: Postgres, scope: str, zone: str) -> tuple[date, date] | None:
        if scope == "account:7":
            raise OverflowError
        return history(postgres, scope, zone)

    monkeypatch.setattr(
        "analytics_pipeline.sensors.enablement.FEATURES", (replace(reporting.REPORTING, history=failing),)
    )

    assert [request.run_key for request in tick(instance)] == ["reporting:account:8:1:1"]
    assert set(EnablementLedger(empty_product.postgres).newest("reporting")) == {"account:8"}


@pytest.mark.slow
def test_tick__saved_twice_within_one__asks_once(product: Product, instance: dg.DagsterInstance) -> None:
    product.switch_ai_usage(on=True)
    product.switch_ai_usage(on=True)

    assert len(settle(instance)) == 1


@pytest.mark.slow
def test_tick__off_and_on_within_one__changes_nothing(product: Product, instance: dg.DagsterInstance) -> None:
    product.switch_ai_usage(on=True)
    settle(instance)
    product.switch_ai_usage(on=False)
    product.switch_ai_usage(on=True)

    assert settle(instance) == []


@pytest.mark.slow
def test_tick__flag_turned_on_after_the_setting__asks_then(product: Product, instance: dg.DagsterInstance) -> None:
    product.switch_ai_usage(on=True, flag=False)
    assert settle(instance) == []
    product.switch_ai_usage(on=True, flag=True)

    assert settle(instance) == [("ai_usage:instance:1:1", days(FIRST, today()))]


def test_tick__repeated_before_the_run__has_the_same_run_key(product: Product, instance: dg.DagsterInstance) -> None:
    product.switch_ai_usage(on=True)

    assert asked(tick(instance)) == asked(tick(instance)) == [("ai_usage:instance:1:1", days(FIRST, today()))]


def test_tick__two_daemons__the_second_looks_on(product: Product, instance: dg.DagsterInstance) -> None:
    product.switch_ai_usage(on=True)

    with EnablementLedger(product.postgres).observing():
        assert tick(instance) == []
    assert len(tick(instance)) == 1


def test_tick__no_events_at_all__is_complete_at_once(empty_product: Product, instance: dg.DagsterInstance) -> None:
    empty_product.switch_ai_usage(on=True)

    assert settle(instance) == []
    assert (newest(empty_product).state, newest(empty_product).rows) == ("completed", 0)


def test_tick__history_older_than_the_start_date__is_cut_and_says_so(
    product: Product, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANALYTICS_START_DATE", (FIRST + timedelta(days=2)).isoformat())
    product.switch_ai_usage(on=True)

    assert settle(instance) == [("ai_usage:instance:1:1", days(FIRST + timedelta(days=2), today()))]
    assert (newest(product).source_first_day, newest(product).first_day) == (FIRST, FIRST + timedelta(days=2))


def told(instance: dg.DagsterInstance) -> str | None:
    """Why the sensor asks for nothing, as its tick shows it."""
    repository = resolved.repository()
    context = dg.build_sensor_context(instance=instance, repository_def=repository)
    return repository.get_sensor_def("enablement").evaluate_tick(context).skip_message


@pytest.mark.slow
def test_tick__on_complete_off_and_on_again__says_which_it_is_and_the_rows_of_all_epochs(
    product: Product, instance: dg.DagsterInstance
) -> None:
    said = [told(instance)]
    product.switch_ai_usage(on=True)
    settle(instance)
    said.append(told(instance))
    product.switch_ai_usage(on=False)
    said.append(told(instance))
    product.switch_ai_usage(on=True)
    settle(instance)
    said.append(told(instance))

    of_ai_usage = [(text or "").partition(";")[0] for text in said]
    # Each history is of all days, also those that were there already.
    assert product.execute("SELECT rows FROM analytics_pipeline.enablements ORDER BY epoch") == [(8,), (8,)]
    assert of_ai_usage == [
        "ai_usage: off",
        "ai_usage: on for 1 scope, 8 rows in 1 history",
        "ai_usage: off, 8 rows in 1 history",
        "ai_usage: on for 1 scope, 16 rows in 2 histories",
    ]
