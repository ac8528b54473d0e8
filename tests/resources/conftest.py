"""Databases of their own for each test that asks for one; what is in them is the test's."""

import uuid
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

from analytics_pipeline.config import Settings
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.connection import connect
from analytics_pipeline.resources.clickhouse.names import quoted
from analytics_pipeline.resources.postgres import Postgres, postgres


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


@pytest.fixture
def postgres_url(environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an empty Postgres database, exported as DATABASE_URL."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(environment["DATABASE_URL"], autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        url = urlunsplit(urlsplit(environment["DATABASE_URL"])._replace(path=f"/{name}"))
        monkeypatch.setenv("DATABASE_URL", url)
        yield url
        server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def store(postgres_url: str) -> Postgres:
    """An empty Postgres database."""
    return postgres(Settings.load())
