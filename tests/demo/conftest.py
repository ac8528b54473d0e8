"""A Postgres database of its own for each test that loads the demo: the stack is shared by the session."""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo


@contextmanager
def own_database(server_url: str) -> Iterator[str]:
    name = f"demo_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield make_conninfo(server_url, dbname=name)
        finally:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def database(environment: Mapping[str, str]) -> Iterator[str]:
    with own_database(environment["DATABASE_URL"]) as url:
        yield url


@pytest.fixture
def table() -> str:
    return f"demo_{uuid.uuid4().hex[:12]}"
