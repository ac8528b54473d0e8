"""Histories of the usage export; whatever happens in them, in the end each sink has what may leave and nothing else.

A seed stands for the same history wherever it is tried.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random

import psycopg
import pytest

from tests.product import Product
from tests.simulation import clock
from tests.simulation.pipeline import make_template
from tests.simulation.usage_export import History
from tests.simulation.usage_export_receiver import receiver

SEED = int(os.environ.get("SIMULATION_SEED", "1"))
_OF_A_TEST = 20


@pytest.fixture
def live(
    empty_product: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[int, int], None]]:
    """Lets the history of a seed happen, of so many steps."""
    monkeypatch.setenv("EXPORT_USAGE_DATA_ENABLED", "true")
    monkeypatch.setenv("EXPORT_SITE_ID", "site-1")
    monkeypatch.setenv("EXPORT_SINK_HOOK_SECRET", "a key of the simulation")
    monkeypatch.setenv("EXPORT_SINKS", "")
    make_template(tmp_path / "template")
    with psycopg.connect(empty_product.postgres.url, autocommit=True) as connection:
        clock.install(connection)
    with receiver() as receives:

        def history(number: int, steps: int) -> None:
            home = tmp_path / f"history-{number}"
            home.mkdir()
            with ExitStack() as stack:
                # A number, not cryptography: the history can be repeated.
                History(empty_product, receives, home, Random(number), stack).live(steps)  # noqa: S311

        yield history


@pytest.mark.timeout(600)
def test_history__of_one_seed__each_sink_has_what_may_leave(live: Callable[[int, int], None]) -> None:
    live(SEED, 12)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("first", range(SEED + 1, SEED + 101, _OF_A_TEST))
def test_histories__of_many_seeds__each_sink_has_what_may_leave(live: Callable[[int, int], None], first: int) -> None:
    for number in range(first, first + _OF_A_TEST):
        live(number, 40)
