"""The enablement sensor: a feature's history is asked for when it is switched on, and exactly once."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, time, timedelta, timezone
from typing import Any

import dagster as dg
import pytest

from analytics_pipeline.flows.ai_usage import daily
from analytics_pipeline.flows.ai_usage.daily import DailyUsage
from analytics_pipeline.flows.ai_usage.source import DUO_CHAT_EVENTS
from analytics_pipeline.flows.daily_copy.changed import days_in_turn
from analytics_pipeline.flows.daily_copy.copy import DayCopy
from analytics_pipeline.flows.enablement.epochs import ATTEMPT_TAG, ATTEMPTS, Epoch
from analytics_pipeline.flows.enablement.ledger import EnablementLedger
from analytics_pipeline.flows.reporting import feature as reporting
from analytics_pipeline.flows.reporting.accounts import accounts
from analytics_pipeline.flows.reporting.ledger import account_days, copies, coverage, stale
from analytics_pipeline.flows.reporting.registry import REGISTRY
from analytics_pipeline.flows.reporting.rollups import Rollups
from analytics_pipeline.flows.reporting.zones import canonical
from analytics_pipeline.orchestration.requests import NOTHING
from analytics_pipeline.resources.postgres import Postgres
from analytics_pipeline.schedules.ai_usage import ai_usage_closed_days
from analytics_pipeline.sensors.ai_usage import ai_usage_late_rows
from tests import resolved
from tests.product import KEY, Product, condition, document, failure_text, today

ASSETS = ("duo_chat_events", "code_suggestion_events", "ai_usage_daily")
FIRST = today() - timedelta(days=3)
RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


def at(day: date, hour: int = 12) -> datetime:
    return datetime.combine(day, time(hour), timezone.utc)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def product(empty_product: Product) -> Product:
    """A product whose users have used AI for four days, in one namespace."""
    for number in range(4):
        empty_product.add_chat(at(FIRST + timedelta(days=number)), user=number % 2 + 1)
        empty_product.add_suggestion(at(FIRST + timedelta(days=number), 13), event=number % 3 + 2)
    return empty_product


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


def test_scenario__saved_on_while_on__nothing_happens(product: Product, instance: dg.DagsterInstance) -> None:
    product.switch_ai_usage(on=True)
    settle(instance)
    product.switch_ai_usage(on=True)

    assert settle(instance) == []
    assert newest(product).epoch == 1


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


def test_scenario__off_and_on_ten_times_with_writes_between__nothing_is_missing_or_there_twice(
    product: Product, instance: dg.DagsterInstance
) -> None:
    """Rows are written while it is on, while it is off, and late for an old day; each gap asks for its days alone."""
    product.switch_ai_usage(on=True)
    assert settle(instance) == [("ai_usage:instance:1:1", days(FIRST, today()))]
    gap = days(today() - timedelta(days=1), today())
    for number in range(2, 12):
        product.add_chat(at(today(), 0), user=number)
        product.switch_ai_usage(on=False)
        assert settle(instance) == []
        product.add_suggestion(at(today() - timedelta(days=1)), user=number)
        product.switch_ai_usage(on=True)

        assert settle(instance) == [(f"ai_usage:instance:{number}:1", gap)]
        assert_complete(product)
    assert (newest(product).epoch, newest(product).state) == (11, "completed")


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


def late_rows(instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    """What the daily sync asks for."""
    answer = ai_usage_late_rows.evaluate_tick(dg.build_sensor_context(instance=instance))
    return list(answer.run_requests or [])


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


@pytest.mark.parametrize("moment", ["0001-01-01 00:00Z", "4000-01-01 BC", "infinity", "-infinity", "9999-12-31 23:00Z"])
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


def test_history__start_date_moves_into_it__is_completed_from_there(
    product: Product, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    product.switch_ai_usage(on=True)
    tick(instance)
    monkeypatch.setenv("ANALYTICS_START_DATE", (today() - timedelta(days=1)).isoformat())

    assert settle(instance) == [("ai_usage:instance:1:1", days(today() - timedelta(days=1), today()))]
    assert newest(product).state == "completed"


def test_reset__of_a_reporting_history__computes_all_of_it_again(
    empty_product: Product, instance: dg.DagsterInstance
) -> None:
    add_account(empty_product, 7, "Asia/Kolkata")
    first = settle(instance)
    ledger = EnablementLedger(empty_product.postgres)

    assert ledger.reset("reporting", "account:7") is not None

    assert settle(instance) == [("reporting:account:7:2:1", first[0][1])]
    assert newest(empty_product, "account:7", "reporting").state == "completed"


@pytest.mark.parametrize(("zone", "hour"), [("Asia/Tokyo", 22), ("America/New_York", 2)])
def test_history__columns_without_zone_and_a_database_elsewhere__begins_on_the_utc_day(
    empty_product: Product, instance: dg.DagsterInstance, zone: str, hour: int
) -> None:
    for relation in ("ai_duo_chat_events", "ai_code_suggestion_events"):
        empty_product.execute(
            f"ALTER TABLE {relation} ALTER COLUMN timestamp TYPE timestamp USING timestamp AT TIME ZONE 'UTC'"
        )
    empty_product.add_chat(at(FIRST, hour).replace(tzinfo=None))
    empty_product.execute(
        f"DO $$BEGIN EXECUTE format('ALTER DATABASE %%I SET timezone = %%L', current_database(), '{zone}'); END$$"
    )
    empty_product.switch_ai_usage(on=True)

    assert settle(instance) == [("ai_usage:instance:1:1", days(FIRST, today()))]
    assert_complete(empty_product)
    assert empty_product.check("duo_chat_events", "chat_events_equal_source").success


def test_tick__saved_twice_within_one__asks_once(product: Product, instance: dg.DagsterInstance) -> None:
    product.switch_ai_usage(on=True)
    product.switch_ai_usage(on=True)

    assert len(settle(instance)) == 1


def test_tick__off_and_on_within_one__changes_nothing(product: Product, instance: dg.DagsterInstance) -> None:
    product.switch_ai_usage(on=True)
    settle(instance)
    product.switch_ai_usage(on=False)
    product.switch_ai_usage(on=True)

    assert settle(instance) == []


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


def test_runs__two_for_one_attempt__only_the_first_works(product: Product, instance: dg.DagsterInstance) -> None:
    product.switch_ai_usage(on=True)
    (request,) = tick(instance)
    assert EnablementLedger(product.postgres).claim(newest(product).current_attempt, "the first")

    result = launch(instance, request)

    assert result.success
    assert stored(product)[0] == []
    assert newest(product).run_id == "the first"


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


def test_attempts__every_run_fails__are_bounded_with_pauses_then_given_up(
    product: Product, instance: dg.DagsterInstance
) -> None:
    product.switch_ai_usage(on=True)
    product.clickhouse.execute("ALTER TABLE ai_usage_daily DROP COLUMN suggestion_size_sum")
    pauses = []
    for number in range(1, ATTEMPTS + 1):
        (request,) = tick(instance)
        assert request.run_key == f"ai_usage:instance:1:{number}"
        assert not launch(instance, request).success
        assert tick(instance) == []
        pauses.append(round((newest(product).next_attempt_at - datetime.now(timezone.utc)) / timedelta(minutes=1)))
        make_due(product)

    assert newest(product).state == "failed"
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128]
    assert tick(instance) == []


def test_retry__after_it_was_given_up__asks_only_for_what_is_missing(
    product: Product, instance: dg.DagsterInstance
) -> None:
    product.switch_ai_usage(on=True)
    tick(instance)
    product.execute("UPDATE analytics_pipeline.enablements SET state = 'failed', attempt = last_attempt")
    product.materialise(*ASSETS, day=FIRST)
    ledger = EnablementLedger(product.postgres)

    assert ledger.retry("ai_usage", "instance") is not None
    assert ledger.retry("ai_usage", "instance") is None
    assert settle(instance) == [("ai_usage:instance:1:9", days(FIRST + timedelta(days=1), today()))]
    assert_complete(product)


def test_reset__of_a_complete_history__asks_for_all_of_it_again(product: Product, instance: dg.DagsterInstance) -> None:
    product.switch_ai_usage(on=True)
    settle(instance)

    assert EnablementLedger(product.postgres).reset("ai_usage", "instance") is not None

    assert settle(instance) == [("ai_usage:instance:2:1", days(FIRST, today()))]
    assert_complete(product)


@pytest.mark.parametrize("silent", [False, True])
def test_run__died_while_it_worked__is_followed_by_another(
    product: Product, instance: dg.DagsterInstance, *, silent: bool
) -> None:
    """A run that vanished from Dagster counts as dead once its heartbeat is old, not before."""
    product.switch_ai_usage(on=True)
    tick(instance)
    EnablementLedger(product.postgres).claim(newest(product).current_attempt, "vanished")
    if silent:
        product.execute("UPDATE analytics_pipeline.enablements SET heartbeat_at = now() - interval '6 minutes'")

    assert tick(instance) == []
    assert newest(product).state == ("requested" if silent else "running")
    make_due(product)
    assert len(settle(instance)) == silent


def test_run__deleted_or_cancelled_before_it_began__is_asked_for_again(
    product: Product, instance: dg.DagsterInstance
) -> None:
    product.switch_ai_usage(on=True)
    (request,) = tick(instance)
    job = resolved.all_assets_job()
    run = instance.create_run_for_job(
        job, tags={ATTEMPT_TAG: str(request.run_key)}, status=dg.DagsterRunStatus.NOT_STARTED
    )
    assert tick(instance) == []
    instance.report_run_canceled(run)

    assert tick(instance) == []
    assert (newest(product).attempt, "CANCELED" in newest(product).error) == (2, True)
    make_due(product)
    assert len(settle(instance)) == 1


def test_history__switched_off_before_it_was_complete__is_asked_for_from_its_beginning(
    product: Product, instance: dg.DagsterInstance
) -> None:
    product.switch_ai_usage(on=True)
    tick(instance)
    product.switch_ai_usage(on=False)
    tick(instance)
    product.switch_ai_usage(on=True)

    assert settle(instance) == [("ai_usage:instance:2:1", days(FIRST, today()))]


def test_feature__source_relation_is_missing__does_not_stop_the_others(
    product: Product, instance: dg.DagsterInstance
) -> None:
    product.execute("DROP TABLE segments CASCADE")
    product.switch_ai_usage(on=True)

    assert len(settle(instance)) == 1


def test_segments__flag_on__asks_for_todays_snapshot_and_counts(
    empty_product: Product, instance: dg.DagsterInstance
) -> None:
    empty_product.add_organisation()
    empty_product.add_project()
    empty_product.add_environment()
    empty_product.add_segment(1, condition("EQUAL", "plan", "pro"))
    empty_product.put(document("alice", plan="pro"))

    (request,) = tick(instance)
    assert "dagster/priority" not in request.tags
    assert settle(instance) == [("segments:organisation:1:1:1", days(today(), today()))]
    assert newest(empty_product, "organisation:1", "segments").state == "completed"
    assert empty_product.current() == {(1, 100): (1, "counted")}
    assert settle(instance) == []

    empty_product.set_flag(1, enabled=False)
    assert settle(instance) == []
    empty_product.set_flag(1, enabled=True)
    assert settle(instance) == [("segments:organisation:1:2:1", days(today(), today()))]


@pytest.mark.parametrize("table", ["identities", "segment_counts"])
def test_segments__clickhouse_loses_the_day_before_it_is_seen_complete__is_brought_in_again(
    empty_product: Product, instance: dg.DagsterInstance, table: str
) -> None:
    empty_product.add_organisation()
    empty_product.add_project()
    empty_product.add_environment()
    empty_product.add_segment(1, condition("EQUAL", "plan", "pro"))
    empty_product.put(document("alice", plan="pro"))
    (request,) = tick(instance)
    assert launch(instance, request).success
    empty_product.clickhouse.execute(f"TRUNCATE TABLE {table}")

    assert tick(instance) == []
    make_due(empty_product)
    assert settle(instance) == [("segments:organisation:1:1:2", days(today(), today()))]

    assert newest(empty_product, "organisation:1", "segments").state == "completed"
    assert (set(empty_product.snapshot()), empty_product.history()) == ({(KEY, "alice")}, {(1, 100): (1, "counted")})


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


def covered(product: Product, account: int) -> set[tuple[date, str]]:
    rows = product.execute(
        "SELECT date, timezone FROM analytics_pipeline.reporting_coverage WHERE account_id = %s AND complete", account
    )
    return set(rows)


def test_reporting__zone_set__brings_in_the_accounts_closed_days(
    empty_product: Product, instance: dg.DagsterInstance
) -> None:
    add_account(empty_product, 7, "Asia/Kolkata")
    add_account(empty_product, 8, "America/New_York")

    # One run rolls up both: the second account's history is complete when the first one's is.
    asked_for = settle(instance)

    assert len(asked_for) == 1
    assert {newest(empty_product, f"account:{n}", "reporting").state for n in (7, 8)} == {"completed"}
    # Four events each, of which today's is not part of the history; the days hold both accounts'.
    assert {newest(empty_product, f"account:{n}", "reporting").rows for n in (7, 8)} == {3}
    closed = {FIRST + timedelta(days=number) for number in range(2)}
    assert {(day, "Asia/Kolkata") for day in closed} <= covered(empty_product, 7)
    assert {(day, "America/New_York") for day in closed} <= covered(empty_product, 8)
    assert settle(instance) == []


def test_reporting__zone_changed__brings_in_the_whole_history_again(
    empty_product: Product, instance: dg.DagsterInstance
) -> None:
    add_account(empty_product, 7, "Asia/Kolkata")
    settle(instance)
    empty_product.execute('UPDATE accounts SET settings = \'{"reporting_timezone": "Europe/Paris"}\'')

    ((key, (first, _)),) = settle(instance)

    assert (key, first) == ("reporting:account:7:2:1", (FIRST - timedelta(days=1)).isoformat())
    assert {zone for _, zone in covered(empty_product, 7)} == {"Europe/Paris"}


def test_reporting__zone_off_while_an_old_date_is_computed_again_and_on__that_date_is_brought_in(
    empty_product: Product, instance: dg.DagsterInstance
) -> None:
    """A date is computed for the accounts that have a zone then: who gets it back later lacks that date."""
    add_account(empty_product, 7, "Asia/Kolkata")
    add_account(empty_product, 8, "Asia/Kolkata")
    settle(instance)
    before = covered(empty_product, 7)
    empty_product.execute("UPDATE accounts SET settings = '{}' WHERE id = 7")
    assert settle(instance) == []
    Rollups(empty_product.clickhouse, empty_product.postgres, "late row").compute(FIRST, FIRST)
    assert before - covered(empty_product, 7) == {(FIRST, "Asia/Kolkata")}
    empty_product.execute('UPDATE accounts SET settings = \'{"reporting_timezone": "Asia/Kolkata"}\' WHERE id = 7')

    around = days(FIRST - timedelta(days=1), FIRST + timedelta(days=1))
    assert settle(instance) == [("reporting:account:7:2:1", around)]
    assert covered(empty_product, 7) == before
    assert newest(empty_product, "account:7", "reporting").state == "completed"


@pytest.mark.parametrize("name", ["Europe/Amsterdam", "Europe/Kiev", "Europe/Stockholm"])
def test_reporting__zone_has_become_a_link_since__asks_for_nothing_and_keeps_what_holds(
    empty_product: Product, instance: dg.DagsterInstance, name: str
) -> None:
    """An earlier time zone database called a zone what is a link to another one today."""
    add_account(empty_product, 7, name)
    settle(instance)
    for table, column in (("reporting_coverage", "timezone"), ("enablements", "setting")):
        empty_product.execute(f"UPDATE analytics_pipeline.{table} SET {column} = %s", name)
    assert canonical(name) != name

    asked_for = settle(instance)

    zoned, days_ = accounts(empty_product.postgres).zoned, covered(empty_product, 7)
    first, last = min(day for day, _ in days_), max(day for day, _ in days_)
    sources = copies(empty_product.postgres, first - timedelta(days=2), last + timedelta(days=2))
    found = coverage(empty_product.postgres, first, last)
    assert asked_for == []
    assert {zone for _, zone in days_} == {name}
    assert stale(account_days(zoned, first, last), found, sources, REGISTRY) == {}
    assert [(epoch.epoch, epoch.state) for epoch in [newest(empty_product, "account:7", "reporting")]] == [
        (1, "completed")
    ]


def test_reporting__zone_has_become_a_link_during_its_history__completes_it(
    empty_product: Product, instance: dg.DagsterInstance
) -> None:
    add_account(empty_product, 7, "Europe/Kiev")
    settle(instance)
    empty_product.execute("UPDATE analytics_pipeline.reporting_coverage SET timezone = 'Europe/Kiev'")
    empty_product.execute("UPDATE analytics_pipeline.enablements SET state = 'requested', completed_at = NULL")

    assert settle(instance) == []
    assert newest(empty_product, "account:7", "reporting").state == "completed"


def test_reporting__another_accounts_history_is_there__copies_only_what_is_not_and_lets_today_go_first(
    empty_product: Product, instance: dg.DagsterInstance
) -> None:
    """The source days are those of all accounts: copying them again would make the rollups of all of them stale."""
    add_account(empty_product, 7, "Asia/Kolkata")
    settle(instance)
    swapped = "SELECT day, swapped_at FROM analytics_pipeline.source_copies"
    before = dict(empty_product.execute(swapped))
    changed, lost, yesterday = (FIRST + timedelta(days=number) for number in range(3))
    empty_product.execute(
        "INSERT INTO reporting_events (name, account_id, created_at) VALUES ('x', 8, %s)", at(changed)
    )
    empty_product.clickhouse.execute("ALTER TABLE reporting_events DROP PARTITION ID {id:String}", id=f"{lost:%Y%m%d}")
    empty_product.execute(
        "INSERT INTO accounts (id, name, settings) VALUES (8, 'B', '{\"reporting_timezone\": \"Asia/Kolkata\"}')"
    )

    (request,) = tick(instance)
    result = launch(instance, request)

    assert result.success, failure_text(result)
    assert request.tags["dagster/priority"] == "-1"
    shown = {
        one.partition: "already_there" in one.metadata
        for one in result.asset_materializations_for_node("reporting_events")
    }
    assert shown == {
        str(FIRST - timedelta(days=1)): True,
        str(changed): False,
        str(lost): False,
        str(yesterday): True,
        str(today()): False,
    }
    after = dict(empty_product.execute(swapped))
    assert {str(day) for day in after if after[day] == before[day]} == {day for day, kept in shown.items() if kept}
    assert empty_product.clickhouse.scalar("SELECT count() FROM reporting_events") == 5
    assert tick(instance) == []
    assert newest(empty_product, "account:8", "reporting").state == "completed"


def test_reporting__zone_is_none__asks_for_nothing(empty_product: Product, instance: dg.DagsterInstance) -> None:
    add_account(empty_product, 7, "Mars/Olympus")

    assert settle(instance) == []


def told(instance: dg.DagsterInstance) -> str | None:
    """Why the sensor asks for nothing, as its tick shows it."""
    repository = resolved.repository()
    context = dg.build_sensor_context(instance=instance, repository_def=repository)
    return repository.get_sensor_def("enablement").evaluate_tick(context).skip_message


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
