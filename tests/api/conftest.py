"""The application over a product of the test, or over the world that the session shares."""

from collections.abc import Iterator, Mapping

import pytest
from fastapi.testclient import TestClient

from tests.api.world import Tokens, application, world
from tests.databases import Databases
from tests.product import Product


@pytest.fixture
def tokens() -> Tokens:
    """The tokens of `client`, for the test to change."""
    return Tokens()


@pytest.fixture
def client(empty_product: Product, tokens: Tokens) -> Iterator[TestClient]:
    """The application over the test's own product."""
    with application(empty_product, tokens) as found:
        yield found


@pytest.fixture(scope="session")
def shared_world(
    stack_environment: Mapping[str, str], stores: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Product]:
    """Two of every tenant. Nobody changes it."""
    with world(stack_environment, stores, tmp_path_factory.mktemp("world") / "landing") as product:
        yield product


@pytest.fixture(scope="session")
def asked(shared_world: Product) -> Iterator[TestClient]:
    """The application over the world."""
    with application(shared_world, Tokens()) as found:
        yield found
