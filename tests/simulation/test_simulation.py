"""Histories of a product and its pipeline; whatever happens in them, in the end every figure has to be right.

A seed stands for the same few histories wherever it is tried. One that fails says how to replay it.
"""

import os

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.simulation.machine import Simulation

# The first seed to try, how many histories in all, and how many steps each has.
SEED = int(os.environ.get("SIMULATION_SEED", "1"))
HISTORIES = int(os.environ.get("SIMULATION_HISTORIES", "1000"))
STEPS = int(os.environ.get("SIMULATION_STEPS", "20"))
# Makes the history that fails as short as it can be, which takes many minutes.
SHRINKS = "SIMULATION_SHRINK" in os.environ
_OF_A_SEED, _OF_A_SHORT_RUN = 25, 2
_SEEDS = range(SEED, SEED + max(HISTORIES // _OF_A_SEED, 1))


@pytest.mark.timeout(1200)
def test_histories__a_few__settle_in_the_truth(machine: type[Simulation]) -> None:
    run(machine, SEED, _OF_A_SHORT_RUN)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("number", _SEEDS)
def test_histories__very_many__settle_in_the_truth(machine: type[Simulation], number: int) -> None:
    run(machine, number, _OF_A_SEED)


def run(machine: type[Simulation], number: int, histories: int) -> None:
    """Try the histories of the seed."""
    machine.replay = (
        f"Replay: SIMULATION_SEED={number} SIMULATION_HISTORIES={_OF_A_SEED} SIMULATION_STEPS={STEPS}"
        f" pytest tests/simulation -k {'few' if histories == _OF_A_SHORT_RUN else 'many'}"
    )
    seed(number)(machine)
    how = settings(
        max_examples=histories,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink) if SHRINKS else (Phase.generate,),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    run_state_machine_as_test(machine, settings=how)
