"""Answers that trickle in: no byte is late, and yet nobody waits for ever. The error names whom it waited for."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from itertools import product as pairs
from typing import Any

import pytest
from obstore.exceptions import GenericError

from analytics_pipeline.config import Settings
from analytics_pipeline.flows.failures import reason_of
from analytics_pipeline.resources import dynamodb, object_stores, sessions
from analytics_pipeline.resources.clickhouse import connection
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.connection import connect
from analytics_pipeline.resources.clickhouse.streams import rows_of
from analytics_pipeline.resources.dynamodb import identities_table
from analytics_pipeline.resources.landing import LandingZone, landing_zone
from analytics_pipeline.resources.landing_units import Manifest
from analytics_pipeline.resources.patience import NoAnswer
from analytics_pipeline.resources.sessions import ServerSilent
from tests.product import Product
from tests.resources.proxy import HTTP_BODY, HTTP_HEAD, HTTP_OBJECT, dripping, http_proxy, proxy
from tests.thorough import rarely

_LONGEST = 20.0


@contextmanager
def in_time() -> Iterator[None]:
    """Far sooner than what drips ends, which is never; a busy machine has room."""
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < _LONGEST


STATEMENTS: dict[str, Callable[[ClickHouse], Any]] = {
    "query": lambda clickhouse: clickhouse.query("SELECT 'drip'"),
    "execute": lambda clickhouse: clickhouse.execute("TRUNCATE TABLE drip"),
    "insert_rows": lambda clickhouse: clickhouse.insert_rows("drip", ["a"], [[1]]),
    "insert_stream": lambda clickhouse: clickhouse.insert_stream(
        "drip", ["a"], lambda: (line for line in [b"1\n"]), fmt="CSV"
    ),
    "stream": lambda clickhouse: list(rows_of(clickhouse, "SELECT 'drip'")),
}


@pytest.mark.parametrize(
    ("kind", "head"),
    [
        ("query", HTTP_BODY),
        ("insert_stream", HTTP_HEAD),
        ("stream", HTTP_BODY),
        *rarely(
            ("query", HTTP_HEAD),
            ("stream", HTTP_HEAD),
            ("insert_stream", HTTP_BODY),
            *pairs(("execute", "insert_rows"), (HTTP_HEAD, HTTP_BODY)),
        ),
    ],
)
def test_clickhouse__answer_trickles_in__is_given_up(
    product: Product, monkeypatch: pytest.MonkeyPatch, kind: str, head: bytes
) -> None:
    product.clickhouse.execute("CREATE TABLE drip (a UInt8) ENGINE = MergeTree ORDER BY a")
    monkeypatch.setattr(connection, "GRACE_SECONDS", 0.5)
    assert product.settings.clickhouse_url is not None
    with http_proxy(product.settings.clickhouse_url.get_secret_value()) as between:
        between.head = head
        monkeypatch.setenv("CLICKHOUSE_URL", between.url)
        with connect(Settings.load(), Tag("f", "s"), timeout_seconds=1) as clickhouse:
            between.drip_at = b"drip"
            with pytest.raises(NoAnswer, match=r"^ClickHouse at http.* has not answered within 1\.5 s$"), in_time():
                STATEMENTS[kind](clickhouse)


def test_postgres__answer_trickles_in__is_given_up(product: Product) -> None:
    with proxy(product.postgres.url) as between:
        between.head = b"D\x00\x10\x00\x00\x00\x01"
        between.drip_at = b"drip"
        # Psycopg hears of a moment of silence after a tenth of a second.
        between.pause = 0.001
        store = replace(product.postgres, url=between.url, lock_seconds=1)

        def ask() -> None:
            with store.connect() as connection_:
                connection_.limit = 1.0
                connection_.execute("SELECT 'drip'")

        with pytest.raises(ServerSilent, match=r"^Postgres at .*: the server has not answered for 1 s\."), in_time():
            ask()


def test_postgres__greeting_trickles_in__is_given_up(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    with proxy(product.postgres.url) as between:
        between.head = b"R\x00\x10\x00\x00"
        between.drip_at = b"client_encoding"
        monkeypatch.setitem(sessions.CONNECTION_OPTIONS, "connect_timeout", 2)
        store = replace(product.postgres, url=between.url)
        with pytest.raises(ConnectionError, match=r"^Postgres at .*the server does not answer"), in_time():
            store.query("SELECT 1")


@pytest.mark.parametrize("head", [HTTP_HEAD, HTTP_BODY])
def test_dynamodb__answer_trickles_in__is_given_up(
    environment: None, monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    monkeypatch.setattr(dynamodb, "ANSWER_SECONDS", 1.0)
    monkeypatch.setenv("IDENTITIES_TABLE", "people")
    with dripping(head) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", url)
        table = identities_table(Settings.load())
        with pytest.raises(NoAnswer, match=r"^DynamoDB \(table people\) has not answered within 1 s$"), in_time():
            table.check()


QUESTIONS: dict[str, Callable[[LandingZone], Any]] = {
    "get": lambda zone: zone.manifest("unit"),
    "list": lambda zone: zone.stored("unit"),
    "put": lambda zone: zone.adopt("unit", Manifest("format", datetime.now(timezone.utc), ())),
}


@pytest.mark.parametrize(
    ("question", "head"),
    [*rarely(("get", HTTP_HEAD)), ("get", HTTP_OBJECT), ("list", HTTP_BODY), *rarely(("put", HTTP_HEAD))],
)
def test_landing_zone__answer_trickles_in__is_given_up(
    environment: None, monkeypatch: pytest.MonkeyPatch, question: str, head: bytes
) -> None:
    monkeypatch.setattr(object_stores, "ANSWER_SECONDS", 1)
    monkeypatch.setattr(object_stores, "RETRY_SECONDS", 2)
    monkeypatch.setenv("LANDING_URL", "s3://bucket/prefix")
    with dripping(head) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
        zone = landing_zone(Settings.load())
        with pytest.raises(GenericError) as failure, in_time():
            QUESTIONS[question](zone)
    assert reason_of(failure.value).startswith("Landing zone: ")
