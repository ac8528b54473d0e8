"""The application over a product of the test, asked in this process."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from fastapi.testclient import TestClient

from analytics_pipeline.api.access import EVERYTHING, Caller, Scope
from analytics_pipeline.api.app import create_app
from analytics_pipeline.resources.postgres import Postgres
from tests.product import Product


@dataclass
class Tokens:
    """Tokens by their text."""

    scopes: dict[str, Scope] = field(default_factory=lambda: {"all": EVERYTHING})

    def __call__(self, _: Postgres, token: str) -> Caller | None:
        scope = self.scopes.get(token)
        return None if scope is None else Caller(token, scope)


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()


@pytest.fixture
def client(empty_product: Product, tokens: Tokens) -> Iterator[TestClient]:
    app: Any = create_app(empty_product.settings, tokens)
    with TestClient(app, headers={"Authorization": "Bearer all"}, raise_server_exceptions=False) as found:
        yield found
