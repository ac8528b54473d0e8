"""Stores that nobody has migrated yet, as the tests of the resources use them."""

from tests.resources.conftest import clickhouse, clickhouse_url, postgres_url, store

__all__ = ["clickhouse", "clickhouse_url", "postgres_url", "store"]
