"""The headline, on a real daemon: an admin switches AI usage on, and its history comes in exactly once.

Whatever is killed on the way, and whenever, the history ends complete, with one epoch and the source's row counts.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date, timedelta

import dagster as dg
import psutil
import pytest

from analytics_pipeline.embedded.dagster_ui import members
from analytics_pipeline.flows.enablement.epochs import ATTEMPT_TAG
from tests.e2e.conftest import Operator
from tests.e2e.dagster_server import DagsterServer, wait_for
from tests.product import Product, today
from tests.sensors.enablement import assert_complete, at, make_due, newest

FIRST = today() - timedelta(days=4)
# A tick of the sensor every 30 seconds, and a run that takes some.
PATIENCE = 150


def add_usage(product: Product, first: date) -> None:
    """Three users' events of each of the five days from `first`."""
    for number in range(5):
        for user in (1, 2, 3):
            product.add_chat(at(first + timedelta(days=number)), user=user)
            product.add_suggestion(at(first + timedelta(days=number), 13), user=user)


@pytest.fixture
def product(empty_product: Product) -> Product:
    add_usage(empty_product, FIRST)
    return empty_product


def state(product: Product) -> str:
    rows = product.execute("SELECT state FROM analytics_pipeline.enablements WHERE feature = 'ai_usage'")
    return str(rows[0][0]) if rows else "none"


def runs(attempt: str) -> list[dg.DagsterRun]:
    with dg.DagsterInstance.get() as instance:
        return list(instance.get_runs(dg.RunsFilter(tags={ATTEMPT_TAG: attempt})))


@contextmanager
def copies_held_up(product: Product) -> Iterator[None]:
    """Until the end, no copy can be recorded, though all can be read: a run has its history and does not get on."""
    with product.postgres.connect() as connection:
        connection.execute("LOCK TABLE analytics_pipeline.source_copies IN EXCLUSIVE MODE")
        yield


def kill(server: DagsterServer, *words: str) -> None:
    """Kill the server's processes whose command line holds one of the words."""
    victims = [process for process in members(server.session) if any(word in _command(process) for word in words)]
    assert victims, words
    for process in victims:
        process.kill()


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def kill_run(server: DagsterServer) -> None:
    (run,) = runs("ai_usage:instance:1:1")
    server.worker_of(run.run_id).kill()


@dataclass(frozen=True)
class Death:
    """What is killed (-9), and in which state of the history."""

    victim: str
    moment: str
    kill: Callable[[DagsterServer], None]

    def __str__(self) -> str:
        return f"{self.victim}-{self.moment}"


def _daemon(server: DagsterServer) -> None:
    kill(server, "dagster._daemon")


def _code_server(server: DagsterServer) -> None:
    kill(server, "code-server start", "api grpc")


def _everything(server: DagsterServer) -> None:
    kill(server, "dagster")


MOMENTS = ("requested", "launched", "running", "done")
DEATHS = [
    *(Death("daemon", moment, _daemon) for moment in MOMENTS),
    *(Death("code_server", moment, _code_server) for moment in MOMENTS),
    *(Death("everything", moment, _everything) for moment in MOMENTS),
    Death("run", "running", kill_run),
]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("death", DEATHS, ids=str)
def test_history__something_is_killed__ends_complete_with_one_backfill(
    product: Product, operator: Operator, death: Death
) -> None:
    server = operator.start()
    with ExitStack() as held:
        if death.moment == "running":
            held.enter_context(copies_held_up(product))
        product.switch_ai_usage(on=True)
        wait_for(lambda: _is_at(product, death.moment), bool, PATIENCE)
        death.kill(server)
    server = operator.restart()

    wait_for(lambda: _is_completed(product), bool, 400)

    assert_complete(product)
    assert product.execute("SELECT count(*) FROM analytics_pipeline.enablements WHERE feature = 'ai_usage'") == [(1,)]
    assert newest(product).rows == 30
    completed = [run for n in range(1, 6) for run in runs(f"ai_usage:instance:1:{n}") if run.is_success]
    assert len(completed) <= 1


def _is_at(product: Product, moment: str) -> bool:
    if moment == "launched":
        return bool(runs("ai_usage:instance:1:1"))
    if moment == "done":
        return product.execute("SELECT count(*) FROM analytics_pipeline.ai_usage_days") == [(5,)]
    return state(product) == moment


def _is_completed(product: Product) -> bool:
    """Time passes faster here: pauses are over at once, and a silent run is dead after a minute of silence."""
    if state(product) == "requested":
        make_due(product)
    product.execute(
        "UPDATE analytics_pipeline.enablements SET heartbeat_at = heartbeat_at - interval '6 minutes'"
        " WHERE state = 'running' AND heartbeat_at < now() - interval '60 seconds'"
    )
    return state(product) == "completed"
