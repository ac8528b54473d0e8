"""Somebody with a browser, over a product of the test whose tokens it can change."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from tests.api.world import Tokens, application
from tests.product import Product


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()


@pytest.fixture
def client(empty_product: Product, tokens: Tokens) -> Iterator[TestClient]:
    with application(empty_product, tokens) as found:
        yield found
