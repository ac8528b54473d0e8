"""The pipeline under a real webserver and daemon: what an operator does, what a crash must not break, what follows.

The tests share a product and a daemon, whose start takes longer than they do; each uses another flow.
"""

from datetime import timedelta

import pytest

from tests.e2e.dagster_server import DagsterServer, wait_for
from tests.e2e.test_enablement import add_usage, runs, state
from tests.flows.reporting.desk import add_account, add_event, build, rollups
from tests.flows.reporting.desk import at as moment
from tests.product import KEY, ORGANISATION, Product, condition, document, today
from tests.sensors.enablement import assert_complete, at, newest

ALL = ("raw_identities", "identity_snapshots", "segment_counts")
# moto answers about a thousand identities a second: enough of them to be caught in the middle of a capture.
MANY = 1_500
# A tick of the sensor every 30 seconds, and a run that takes some.
PATIENCE = 150
# The first test waits for the start as well, among other tests that take their share of the processors.
# `make test` kills runs without a daemon (test_kill.py), and has a daemon bring histories in (test_demo.py).
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def identities(followed_product: Product, server: DagsterServer) -> Product:
    """Two identities and one segment, counted by the history that the organisation's flag asks for.

    From then on nobody but the test works on the day.
    """
    product = followed_product
    product.put(document("alice", plan="pro"), document("bob"))
    product.add_organisation(enabled=False)
    product.add_project()
    product.add_environment()
    product.add_segment(1, condition("EQUAL", "plan", "pro"))
    product.set_flag(ORGANISATION, enabled=True)
    wait_for(lambda: _histories(product), lambda states: states == ["completed"], PATIENCE)
    assert product.snapshot() == {(KEY, "alice"): {"plan": "pro"}, (KEY, "bob"): {}}
    assert product.current() == {(1, 100): (1, "counted")}
    return product


def test_identities__two_days_backfilled_from_the_ui__are_one_run(identities: Product, server: DagsterServer) -> None:
    """As the backfill dialog asks for them; the uncaptured day says what it lacks."""
    yesterday = today() - timedelta(days=1)
    before = identities.snapshot(), identities.history()

    backfill = server.backfill(["segment_counts"], [yesterday.isoformat(), today().isoformat()])
    done = wait_for(lambda: server.backfill_status(backfill), lambda seen: seen[0].startswith("COMPLETED"), PATIENCE)

    assert done == ("COMPLETED_SUCCESS", 1)
    assert identities.history(yesterday) == {(1, 100): (None, "failed")}
    assert (identities.snapshot(), identities.history()) == before


def test_identities__run_of_the_ui_is_killed__old_slice_is_whole_and_the_next_run_brings_the_new_one(
    identities: Product, server: DagsterServer
) -> None:
    product, day = identities, {"dagster/partition": today().isoformat()}
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
