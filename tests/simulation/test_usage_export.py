"""Histories of the usage export; whatever happens in them, in the end each sink has what may leave and nothing else."""

import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.product import Product
from tests.simulation import clock
from tests.simulation.pipeline import make_template
from tests.simulation.usage_export import ExportSimulation
from tests.simulation.usage_export_receiver import receiver

SEED = int(os.environ.get("SIMULATION_SEED", "1"))


@pytest.fixture
def histories(
    empty_product: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[type[ExportSimulation]]:
    """Each instance is a history, which begins with an empty log and empty sinks."""
    monkeypatch.setenv("EXPORT_USAGE_DATA_ENABLED", "true")
    monkeypatch.setenv("EXPORT_SITE_ID", "site-1")
    monkeypatch.setenv("EXPORT_SINK_HOOK_SECRET", "a key of the simulation")
    monkeypatch.setenv("EXPORT_SINKS", "")
    make_template(tmp_path / "template")
    with psycopg.connect(empty_product.postgres.url, autocommit=True) as connection:
        clock.install(connection)
    with receiver() as receives:
        members = {"product": empty_product, "receiver": receives, "home": tmp_path}
        yield type("ExportSimulation", (ExportSimulation,), members)


@pytest.mark.timeout(600)
def test_histories__a_few__each_sink_has_what_may_leave(histories: type[ExportSimulation]) -> None:
    _run(histories, SEED, 3)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", range(SEED, SEED + 5))
def test_histories__very_many__each_sink_has_what_may_leave(histories: type[ExportSimulation], number: int) -> None:
    _run(histories, number, 20)


def _run(histories: type[ExportSimulation], number: int, examples: int) -> None:
    histories.replay = f"Replay: SIMULATION_SEED={number} pytest tests/simulation/test_usage_export.py"
    seed(number)(histories)
    how = settings(
        max_examples=examples,
        stateful_step_count=25,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    run_state_machine_as_test(histories, settings=how)
