"""The pipeline under a real webserver and daemon: what an operator does, what a crash must not break, what follows.

The tests share a product and a daemon, whose start takes longer than they do; each uses another flow.
"""

from datetime import timedelta

import pytest

from tests.e2e.dagster_server import DagsterServer, wait_for
from tests.e2e.test_enablement import add_usage, runs, state
from tests.flows.reporting.desk import add_account, add_event, build, rollups
from tests.flows.reporting.desk import at as moment
from tests.product import KEY, Product, condition, document, today
from tests.sensors.enablement import assert_complete, at, newest

ALL = ("raw_identities", "identity_snapshots", "segment_counts")
# moto answers about a thousand identities a second: enough of them to be caught in the middle of a capture.
MANY = 1_500
# A tick of the sensor every 30 seconds, and a run that takes some.
PATIENCE = 150
# The first test waits for the start as well, among other tests that take their share of the processors.
pytestmark = pytest.mark.timeout(600)


def test_identities__operated_from_the_ui__materialise_backfill_and_survive_a_kill(
    followed_product: Product, server: DagsterServer
) -> None:
    product = followed_product
    product.add_organisation()
    product.add_project()
    product.add_environment()
    product.add_segment(1, condition("EQUAL", "plan", "pro"))
    # The organisation's flag is on, so its history is asked for: from then on nobody else works on the day.
    wait_for(lambda: _histories(product), lambda states: states == ["completed"], PATIENCE)
    product.put(document("alice", plan="pro"), document("bob"))
    day = {"dagster/partition": today().isoformat()}

    first = server.materialise(ALL, tags=day)
    assert server.wait_for_run(first) == "SUCCESS"
    assert product.snapshot() == {(KEY, "alice"): {"plan": "pro"}, (KEY, "bob"): {}}
    assert product.current() == {(1, 100): (1, "counted")}

    _backfill_a_past_day(product, server)
    _kill_a_run(product, server, day)


def _backfill_a_past_day(product: Product, server: DagsterServer) -> None:
    """Two days at once, as the backfill dialog asks for them: one run, and the uncaptured day says what it lacks."""
    yesterday = today() - timedelta(days=1)
    before = product.snapshot()

    backfill = server.backfill(["segment_counts"], [yesterday.isoformat(), today().isoformat()])
    done = wait_for(lambda: server.backfill_status(backfill), lambda seen: seen[0].startswith("COMPLETED"), PATIENCE)

    assert done == ("COMPLETED_SUCCESS", 1)
    assert product.history(yesterday) == {(1, 100): (None, "failed")}
    assert product.history() == {(1, 100): (1, "counted")}
    assert product.snapshot() == before


def _kill_a_run(product: Product, server: DagsterServer, day: dict[str, str]) -> None:
    """Killed in the middle of the capture: the old slice stays whole, and the next run brings the new one."""
    before = (product.snapshot(), product.current(), product.loads())
    product.put(*(document(f"user-{number:05d}", plan="pro") for number in range(MANY)))

    killed = server.materialise(ALL, tags=day)
    worker = server.worker_of(killed)
    # A capture on an idle machine is over soon.
    wait_for(lambda: _is_capturing(product), bool, 60, pause=0.02)
    worker.kill()

    assert server.wait_for_run(killed) == "FAILURE"
    assert (product.snapshot(), product.current(), product.loads()) == before

    repaired = server.materialise(ALL, tags=day)
    assert server.wait_for_run(repaired) == "SUCCESS"
    assert len(product.snapshot()) == MANY + 2
    assert product.current() == {(1, 100): (MANY + 1, "counted")}
    assert product.loads() == {KEY: ("completed", MANY + 2)}


def _histories(product: Product) -> list[str]:
    rows = product.execute("SELECT state FROM analytics_pipeline.enablements WHERE feature = 'segments'")
    return [state for (state,) in rows]


def _is_capturing(product: Product) -> bool:
    return product.postgres.is_leased(f"identities:{today()}")


@pytest.mark.slow
def test_history__switched_on_under_a_real_daemon__comes_in_exactly_once(
    followed_product: Product, server: DagsterServer
) -> None:
    product = followed_product
    first = today() - timedelta(days=4)
    add_usage(product, first)
    product.switch_ai_usage(on=True)

    wait_for(lambda: state(product), lambda seen: seen == "completed", PATIENCE)

    assert_complete(product)
    epoch = newest(product)
    assert (epoch.epoch, epoch.attempt, epoch.rows, len(runs("ai_usage:instance:1:1"))) == (1, 1, 30, 1)

    # What is written from now on follows by itself.
    product.add_chat(at(today()), user=9)
    product.add_chat(at(first), user=9)
    wait_for(lambda: product.clickhouse.scalar("SELECT count() FROM duo_chat_events"), lambda n: n == 17, PATIENCE)
    wait_for(
        lambda: product.clickhouse.scalar("SELECT sum(occurrences) FROM ai_usage_daily FINAL"), lambda n: n == 32, 60
    )
    assert product.execute("SELECT count(*) FROM analytics_pipeline.enablements WHERE feature = 'ai_usage'") == [(1,)]


@pytest.mark.slow
def test_reporting__rows_arrive_while_the_daemon_runs__reach_the_rollups(
    followed_product: Product, server: DagsterServer
) -> None:
    product = followed_product
    add_account(product, 1, "Asia/Kolkata")
    old = today() - timedelta(days=40)
    build(product, old, old)
    noon = moment(f"{today()} 00:30")
    add_event(product, "first_response", noon, value=1)
    wait_for(lambda: _counts(product), lambda seen: seen == {str(today()): 1}, PATIENCE)

    add_event(product, "first_response", moment(f"{old} 00:30"), value=1)
    add_event(product, "first_response", noon + timedelta(seconds=1), value=1)

    expected = {str(today()): 2, str(old): 1}
    wait_for(lambda: _counts(product), lambda seen: seen == expected, PATIENCE)


def _counts(product: Product) -> dict[str, int]:
    """Events of the account by local date."""
    return {key[1]: row[0] for key, row in rollups(product).items() if key[2] == "account"}
