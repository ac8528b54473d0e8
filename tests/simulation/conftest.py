"""The machine in stores of its own, which live in simulated time."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.product import Product
from tests.simulation import clock
from tests.simulation.history import START
from tests.simulation.machine import ALL, Simulation
from tests.simulation.pipeline import make_template
from tests.simulation.stores import Stores


@pytest.fixture
def machine(empty_product: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Simulation]]:
    """Each instance is a history, which begins with empty stores."""
    monkeypatch.setenv("ANALYTICS_START_DATE", START.isoformat())
    home = tmp_path / "dagster"
    home.mkdir()
    make_template(home / "template")
    environment = dict(os.environ)
    stores = Stores.connect(environment, tuple(dict.fromkeys(table for flow in ALL for table in flow.tables)))
    clock.install(stores.postgres)
    landing = Path(environment["LANDING_URL"].removeprefix("file://"))
    yield type("Simulation", (Simulation,), {"stores": stores, "home": home, "landing": landing})
    stores.close()
