"""Fixtures of the sensors' tests."""

from collections.abc import Iterator
from datetime import timedelta

import dagster as dg
import pytest

from tests.product import Product
from tests.sensors.enablement import FIRST, at


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def ai_product(empty_product: Product) -> Product:
    """A product whose users have used AI for four days, in one namespace."""
    for number in range(4):
        empty_product.add_chat(at(FIRST + timedelta(days=number)), user=number % 2 + 1)
        empty_product.add_suggestion(at(FIRST + timedelta(days=number), 13), event=number % 3 + 2)
    return empty_product
