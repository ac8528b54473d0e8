"""Fixtures of the embedded engines' tests."""

from collections.abc import Iterator

import pytest
from clickhouse_connect.driver.client import Client

from tests.embedded.clickhouse_harness import Server, running_server, temporary_table


@pytest.fixture(scope="session")
def clickhouse_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that do not kill it."""
    with running_server(tmp_path_factory.mktemp("clickhouse")) as server:
        yield server


@pytest.fixture
def clickhouse_client(clickhouse_server: Server) -> Iterator[Client]:
    """A client with a session of its own, as clickhouse-connect makes it by default."""
    client = clickhouse_server.client()
    yield client
    client.close()


@pytest.fixture
def clickhouse_table(clickhouse_client: Client) -> Iterator[str]:
    """An empty MergeTree table (a UInt64, b String)."""
    with temporary_table(clickhouse_client) as name:
        yield name
