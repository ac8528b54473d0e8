"""What runs outside of the tests' own process."""

import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

from tests.databases import Databases
from tests.e2e.dagster_server import DagsterServer, dagster_server
from tests.product import Product, new_product


@contextmanager
def own_instance(exported: pytest.MonkeyPatch) -> Iterator[None]:
    """A Dagster instance that knows nothing of other tests' run keys."""
    server = os.environ["DAGSTER_POSTGRES_URL"]
    name = f"dagster_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        exported.setenv("DAGSTER_POSTGRES_URL", urlunsplit(urlsplit(server)._replace(path=f"/{name}")))
        try:
            yield
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def lasting_product(environment: Mapping[str, str], stores: Databases, landing: Path) -> Iterator[Product]:
    """A product with a Dagster instance of its own, for the tests of a file; exported while it lasts."""
    with pytest.MonkeyPatch.context() as exported:
        for name, value in environment.items():
            exported.setenv(name, value)
        with own_instance(exported), new_product(stores, landing, exported) as product:
            yield product


@pytest.fixture(scope="module")
def followed_product(
    stack_environment: Mapping[str, str], stores: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Product]:
    """One product for the tests of a file, each of which uses another flow."""
    with lasting_product(stack_environment, stores, tmp_path_factory.mktemp("landing")) as product:
        yield product


@pytest.fixture(scope="module")
def server(followed_product: Product, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterServer]:
    """A webserver and a daemon that follow that product: their start takes longer than most tests."""
    with dagster_server(dict(os.environ), tmp_path_factory.mktemp("dagster") / "dagster.log") as running:
        yield running


@dataclass
class Operator:
    """Starts Dagster, and again after it was killed or stopped."""

    log: Path
    stack: ExitStack

    def start(self) -> DagsterServer:
        return self.stack.enter_context(dagster_server(dict(os.environ), self.log))

    def stop(self) -> None:
        self.stack.close()

    def restart(self) -> DagsterServer:
        self.stop()
        return self.start()


@pytest.fixture
def operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Operator]:
    """An instance of its own: run keys of other tests' histories must not be known to it."""
    with own_instance(monkeypatch), ExitStack() as made:
        yield Operator(tmp_path / "dagster.log", made)
