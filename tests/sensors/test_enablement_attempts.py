"""Attempts at a history: they fail, die, are cancelled, are asked for again."""

from datetime import datetime, timedelta, timezone

import dagster as dg
import pytest

from analytics_pipeline.flows.enablement.epochs import ATTEMPT_TAG, ATTEMPTS
from analytics_pipeline.flows.enablement.ledger import EnablementLedger
from tests import resolved
from tests.product import Product, today
from tests.sensors.enablement import (
    ASSETS,
    FIRST,
    assert_complete,
    at,
    days,
    launch,
    make_due,
    newest,
    settle,
    stored,
    tick,
)
from tests.thorough import rarely


@pytest.fixture
def product(ai_product: Product) -> Product:
    return ai_product


@pytest.mark.slow
def test_history__start_date_moves_into_it__is_completed_from_there(
    product: Product, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    product.switch_ai_usage(on=True)
    tick(instance)
    monkeypatch.setenv("ANALYTICS_START_DATE", (today() - timedelta(days=1)).isoformat())

    assert settle(instance) == [("ai_usage:instance:1:1", days(today() - timedelta(days=1), today()))]
    assert newest(product).state == "completed"


@pytest.mark.slow
@pytest.mark.parametrize(("zone", "hour"), [("Asia/Tokyo", 22), *rarely(("America/New_York", 2))])
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


def test_runs__two_for_one_attempt__only_the_first_works(product: Product, instance: dg.DagsterInstance) -> None:
    product.switch_ai_usage(on=True)
    (request,) = tick(instance)
    assert EnablementLedger(product.postgres).claim(newest(product).current_attempt, "the first")

    result = launch(instance, request)

    assert result.success
    assert stored(product)[0] == []
    assert newest(product).run_id == "the first"


@pytest.mark.parametrize("numbers", [(1, ATTEMPTS - 1, ATTEMPTS), *rarely((tuple(range(1, ATTEMPTS + 1)),))])
def test_attempts__every_run_fails__are_bounded_with_pauses_then_given_up(
    product: Product, instance: dg.DagsterInstance, numbers: tuple[int, ...]
) -> None:
    product.switch_ai_usage(on=True)
    product.clickhouse.execute("ALTER TABLE ai_usage_daily DROP COLUMN suggestion_size_sum")
    pauses = []
    for number in numbers:
        # As if those between had failed as well.
        product.execute("UPDATE analytics_pipeline.enablements SET attempt = %s", number)
        (request,) = tick(instance)
        assert request.run_key == f"ai_usage:instance:1:{number}"
        assert not launch(instance, request).success
        assert tick(instance) == []
        pauses.append(round((newest(product).next_attempt_at - datetime.now(timezone.utc)) / timedelta(minutes=1)))
        make_due(product)

    assert newest(product).state == "failed"
    assert pauses == [2 ** (number - 1) for number in numbers]
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


@pytest.mark.slow
def test_reset__of_a_complete_history__asks_for_all_of_it_again(product: Product, instance: dg.DagsterInstance) -> None:
    product.switch_ai_usage(on=True)
    settle(instance)

    assert EnablementLedger(product.postgres).reset("ai_usage", "instance") is not None

    assert settle(instance) == [("ai_usage:instance:2:1", days(FIRST, today()))]
    assert_complete(product)


@pytest.mark.parametrize("silent", [True, *rarely((False,))])
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


@pytest.mark.slow
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
