"""The demo must never write into somebody's production."""

from collections.abc import Mapping
from typing import Any

import boto3
import psycopg
import pytest

from analytics_pipeline.demo import DemoRefusedError, load_demo_product


def _tables(database: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database) as connection:
        return connection.execute("SELECT relname FROM pg_stat_user_tables ORDER BY relname").fetchall()


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("AWS_ENDPOINT_URL", "", "the AWS of the caller's credentials"),
        ("AWS_ENDPOINT_URL", "https://dynamodb.eu-west-1.amazonaws.com", "https://dynamodb.eu-west-1.amazonaws.com"),
        ("AWS_ENDPOINT_URL", "https://127.0.0.1:5000", "https://127.0.0.1:5000"),
        ("AWS_ENDPOINT_URL", "http://user:secret@10.1.2.3:5000", "http://10.1.2.3:5000"),
        ("AWS_ENDPOINT_URL_DYNAMODB", "http://dynamodb.example:8000", "http://dynamodb.example:8000"),
        ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true", "https://dynamodb.eu-west-1.amazonaws.com"),
    ],
)
def test_load__aws_that_is_not_embedded__is_refused(
    database: str, table: str, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, named: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(DemoRefusedError) as refusal:
        load_demo_product(database, table)
    assert f"not to {named}" in str(refusal.value)
    assert "secret" not in str(refusal.value)
    assert _tables(database) == []


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:secret@db.example/product",
        "postgresql://user:secret@127.0.0.1,10.1.2.3/product",
        "postgresql://user:secret@localhost/product?hostaddr=10.1.2.3",
    ],
)
def test_load__postgres_on_another_machine__is_refused_before_connecting(
    environment: Mapping[str, str], table: str, url: str
) -> None:
    with pytest.raises(
        DemoRefusedError, match=r"Postgres on this machine, not to (db\.example|10\.1\.2\.3);"
    ) as refusal:
        load_demo_product(url, table)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    "relation",
    [
        "SELECT 7::bigint AS id, 'Somebody Ltd'::text AS name",
        "SELECT 1::bigint AS id, 'Not the demo'::text AS name",
        "SELECT 'a'::text AS code",
    ],
)
def test_load__database_of_somebody_else__is_refused_and_left_alone(database: str, table: str, relation: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute(f"CREATE TABLE organisations AS {relation}".encode())
    with pytest.raises(DemoRefusedError, match="1 organisations that are not the demo's; nothing was written"):
        load_demo_product(database, table)
    assert _tables(database) == [("organisations",)]
    assert table not in boto3.client("dynamodb").list_tables()["TableNames"]
