"""Batches over HTTP: a verdict for each event, after it has been stored."""

import gzip
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
import zstandard

from tests.api.ingestion.conftest import Worker
from tests.flows.product_events.samples import USER, batch, completed, custom, envelope, moment, new_id, request
from tests.product import Product

STORED = """
    SELECT organisation_id, toString(event_id), toString(timestamp), event_type, service,
        toString(user_id), hostname, environment, sdk,
        duration_ms, exit_code, endpoint, method, status_code, toJSONString(data)
    FROM analytics_events FINAL ORDER BY event_type
"""


def written(event: dict[str, Any]) -> str:
    """The time stamp of an event as ClickHouse writes it."""
    return str(event["timestamp"])[:23].replace("T", " ")


def ids(product: Product) -> list[str]:
    return [one for (one,) in product.clickhouse.query("SELECT toString(event_id) FROM analytics_events ORDER BY ALL")]


def test_batch__of_the_sdk__is_stored_in_its_columns(empty_product: Product, worker: Worker) -> None:
    one, two = envelope(), envelope(completed())

    answer = worker.post(sent := batch(one, two))

    assert (answer.status, answer.json["request_id"]) == (200, sent["request_id"])
    assert answer.json["verdicts"] == [{"index": 0, "verdict": "accepted"}, {"index": 1, "verdict": "accepted"}]
    origin = ("host-1", "test", "python/1.0")
    assert empty_product.clickhouse.query(STORED) == [
        (1, one["id"], written(one), "api_request", "web", USER, *origin, 12, None, "/tasks/{id}", "GET", 200, "{}"),
        (1, two["id"], written(two), "task_completed", "worker", USER, *origin, 500, 0, "", "", None, "{}"),
    ]


@pytest.mark.parametrize(
    ("encode", "headers"),
    [
        (lambda events: json.dumps(events).encode(), {}),
        (lambda events: gzip.compress(json.dumps(batch(*events)).encode()), {"content_encoding": "gzip"}),
        (lambda events: zstandard.compress(json.dumps(events).encode()), {"content_encoding": "zstd"}),
        (
            lambda events: b"".join(zstandard.compress(json.dumps(one).encode() + b"\n") for one in events),
            {"content_encoding": "zstd", "content_type": "application/x-ndjson"},
        ),
        (
            lambda events: b"\n".join(json.dumps(one).encode() for one in events),
            {"content_type": "application/x-ndjson"},
        ),
    ],
)
def test_batch__in_any_form__is_stored(
    empty_product: Product, worker: Worker, encode: Callable[[Any], bytes], headers: dict[str, str]
) -> None:
    events = [envelope(), envelope(completed())]

    answer = worker.post(encode(events), **headers)

    assert (answer.status, answer.verdicts) == (200, ["accepted"] * 2)
    assert ids(empty_product) == sorted(one["id"] for one in events)


def test_batch__with_bad_events__keeps_the_others(empty_product: Product, worker: Worker) -> None:
    good = envelope()
    bad = [
        envelope(request(status_code="200")),
        envelope({"type": "nobody_knows"}),
        envelope(timestamp=moment(hours=-25)),
        envelope(timestamp=moment(days=91)),
        {**envelope(), "id": None},
        "text",
    ]

    answer = worker.post(batch(*bad[:3], good, *bad[3:]))

    assert answer.status == 200
    assert [(one["verdict"], one.get("field"), one.get("reason")) for one in answer.json["verdicts"]] == [
        ("rejected", "event.status_code", "Expected `int`, got `str`"),
        ("rejected", "event.type", "it is not the name of a type of event"),
        ("rejected", "timestamp", "it is more than 24 hours in the future"),
        ("accepted", None, None),
        ("rejected", "timestamp", "it is older than 90 days, which events are kept"),
        ("rejected", "id", "Expected `uuid`, got `null`"),
        ("rejected", None, "Expected `object`, got `str`"),
    ]
    assert ids(empty_product) == [good["id"]]


def test_batch__lines_of_which_one_is_broken__keeps_the_others(empty_product: Product, worker: Worker) -> None:
    good = envelope()

    answer = worker.post(b'{"id":\n' + json.dumps(good).encode() + b"\n\n", content_type="application/x-ndjson")

    assert answer.verdicts == ["rejected", "accepted"]
    assert ids(empty_product) == [good["id"]]


def test_batch__old_spelling_of_oauth__is_stored_under_the_new(empty_product: Product, worker: Worker) -> None:
    members = {"user_id": USER, "provider": "github", "success": True}
    events = [envelope({"type": kind, **members}) for kind in ("o_auth_flow_completed", "oauth_flow_completed")]

    worker.post(events)

    assert (
        empty_product.clickhouse.query("SELECT event_type, provider, success, service FROM analytics_events")
        == [("oauth_flow_completed", "github", True, "unknown")] * 2
    )


def test_batch__text_that_looks_like_something_else__stays_text(empty_product: Product, worker: Worker) -> None:
    properties = {"day": "2026-01-01", "at": "2026-01-01T10:00:00Z", "number": "12", "n": 5, "a.b": 1, "a": {"b": 2}}

    answer = worker.post([envelope({**custom(), "properties": properties})])

    assert answer.verdicts == ["accepted"]
    ((name, data),) = empty_product.clickhouse.query("SELECT name, toJSONString(data) FROM analytics_events")
    stored = json.loads(data)["properties"]
    assert name == "clicked"
    assert {key: stored[key] for key in ("day", "at", "number", "n")} == {
        key: properties[key] for key in ("day", "at", "number", "n")
    }


def test_batch__status_that_no_column_holds__is_in_data(empty_product: Product, worker: Worker) -> None:
    proxied = {
        "type": "proxy_request",
        "proxy_token_id": USER,
        "user_id": USER,
        "request_id": "r",
        "provider_type": "p",
        "key_mode": "m",
        "endpoint": "/v1/chat",
        "latency_ms": 5,
        "is_streaming": False,
        "status": "ok",
    }

    worker.post([envelope({**proxied, "status_code": code}) for code in (-1, 502)])

    rows = empty_product.clickhouse.query(
        "SELECT status_code, data.status_code.:Int64 FROM analytics_events ORDER BY ALL NULLS FIRST"
    )
    assert rows == [(None, -1), (502, None)]


def test_batch__sent_at__tells_the_skew_of_the_clock(empty_product: Product, worker: Worker) -> None:
    worker.post(batch(envelope(), sent_at=moment(seconds=30)))
    worker.post([envelope()])

    skews = [one for (one,) in empty_product.clickhouse.query("SELECT skew_ms FROM analytics_events ORDER BY ALL")]
    assert skews[1] is None
    assert 30_000 <= skews[0] < 60_000


def test_original__array_without_ids__is_stored_once_however_often_it_is_sent(
    empty_product: Product, worker: Worker
) -> None:
    one = {"timestamp": "2026-11-01T10:00:00.123456789Z", "event": request(), "hostname": "old"}
    one["timestamp"] = moment(minutes=1)
    body = json.dumps([one, one, {**one, "event": completed()}, {"event": {}}]).encode()

    first, second = (worker.post(body, path="/events/batch") for _ in range(2))

    assert (first.status, first.json["received"], first.verdicts) == (200, 3, ["accepted"] * 3 + ["rejected"])
    assert (second.json["received"], second.verdicts) == (3, ["duplicate"] * 3 + ["rejected"])
    found = ids(empty_product)
    assert len(found) == 3
    assert {UUID(identifier).version for identifier in found} == {7}
    assert worker.post([], path="/events/batch").json == {"received": 0, "verdicts": []}


def test_batch__without_events__is_answered(worker: Worker) -> None:
    assert worker.post(batch()).json["verdicts"] == []


def test_batch__request_id_of_the_header__is_that_of_the_answer(worker: Worker) -> None:
    identifier = new_id()

    assert worker.post([envelope()], x_request_id=identifier).json["request_id"] == identifier
