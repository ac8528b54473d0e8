"""A ClickHouse database of its own for each test that asks for one; its tables are the test's."""

import uuid
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit, urlunsplit

import pytest

from analytics_pipeline.config import Settings
from analytics_pipeline.resources.clickhouse import ClickHouse, Tag, connect, quoted


@pytest.fixture
def clickhouse_url(environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an empty database, exported as CLICKHOUSE_URL."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with connect(Settings.load(), Tag("tests", "database")) as server:
        server.execute(f"CREATE DATABASE {quoted(name)} ENGINE = Atomic")
        url = urlunsplit(urlsplit(environment["CLICKHOUSE_URL"])._replace(path=f"/{name}"))
        monkeypatch.setenv("CLICKHOUSE_URL", url)
        yield url
        server.execute(f"DROP DATABASE {quoted(name)} SYNC")


@pytest.fixture
def clickhouse(clickhouse_url: str) -> Iterator[ClickHouse]:
    """A connection to an empty database."""
    with connect(Settings.load(), Tag("tests", "work", run_id=uuid.uuid4().hex)) as connection:
        yield connection
