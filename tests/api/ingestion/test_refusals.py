"""Requests that are not answered event by event: who may send, what, how much, and when."""

import asyncio
import gzip
import zlib
from collections.abc import Callable
from typing import Any

import pytest
import zstandard

from analytics_pipeline.api import tokens
from analytics_pipeline.api.ingestion import commits
from analytics_pipeline.flows.erasure import subjects
from analytics_pipeline.flows.erasure.ledger import ErasureLedger
from tests.api.ingestion.conftest import Worker
from tests.flows.product_events.samples import batch, envelope
from tests.product import Product

MIB = 1 << 20


def count(product: Product) -> int:
    found: int = product.clickhouse.scalar("SELECT count() FROM analytics_events")
    return found


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer ", "Basic abc", "Bearer apt_unknown", "Bearer \xff"])
def test_token__missing_or_unknown__is_401(worker: Worker, given: str) -> None:
    answer = worker.post([envelope()], authorization=given)

    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_token__for_reads__is_403(empty_product: Product, worker: Worker) -> None:
    reads = tokens.create(empty_product.postgres, "reads", "read").secret

    assert worker.post([envelope()], authorization=f"Bearer {reads}").status == 403


def test_token__revoked__stores_nothing_more_although_it_was_known(empty_product: Product, worker: Worker) -> None:
    before = worker.post([envelope()])

    tokens.revoke(empty_product.postgres, "test")
    after = worker.post([envelope()])

    assert (before.status, after.status) == (200, 401)
    assert count(empty_product) == 1


def test_token__survived_the_forgetting_of_its_organisation__stores_and_keeps_nothing(
    empty_product: Product, worker: Worker
) -> None:
    # A backup of the tokens brought it back: whoever forgets an organisation ends its tokens.
    ErasureLedger.begin(empty_product.postgres, subjects.numbered("organisation", "1"))

    answer = worker.post([envelope(), {"no": "event"}])

    first, second = answer.json["verdicts"]
    assert (first["verdict"], first["reason"]) == ("rejected", "its user or organisation was forgotten")
    assert (answer.status, second["verdict"], count(empty_product)) == (200, "rejected", 0)
    assert empty_product.execute("SELECT count(*) FROM analytics_pipeline.dead_letters") == [(0,)]


def test_token__in_use__is_noted(empty_product: Product, worker: Worker) -> None:
    worker.post([envelope()])

    assert tokens.listed(empty_product.postgres)[0].last_used_at is not None


def _flushed(data: bytes) -> bytes:
    """The beginning of a frame with whole blocks in it, whose end is not there."""
    frame = zstandard.ZstdCompressor().compressobj()
    return frame.compress(data) + frame.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)


def _bodies() -> dict[str, tuple[bytes, dict[str, str], int]]:
    """Bodies by name, with their headers and the status that they get."""
    packed, zstd = {"content_encoding": "gzip"}, {"content_encoding": "zstd"}
    return {
        "empty": (b"", {}, 400),
        "cut": (b"{", {}, 400),
        "null": (b"null", {}, 400),
        "no batch": (b"{}", {}, 400),
        "deep": (b"[" * 100_000, {}, 400),
        "no text": (b'[{"id": "\xff"}]', {}, 200),
        "of another type": (b"[]", {"content_type": "text/plain"}, 415),
        "of an unknown encoding": (b"[]", {"content_encoding": "br"}, 415),
        "not packed": (b"[]", packed, 400),
        "packed and cut": (gzip.compress(b"[]")[:-4], packed, 400),
        "zstd and cut": (zstandard.compress(b"[]")[:-2], zstd, 400),
        # Each of its lines is whole: read as they are, the events that are lacking would be lost.
        "zstd and cut between blocks": (_flushed(b"{}\n"), {**zstd, "content_type": "application/x-ndjson"}, 400),
        "zstd and something else": (zstandard.compress(b"[]") + b"more", zstd, 400),
        "zstd of many frames": (zstandard.compress(b" ") * 200 + zstandard.compress(b"[]"), zstd, 400),
        "a bomb of zstd frames": (zstandard.compress(b" " * MIB) * 2, zstd, 413),
        "large": (b"[]" + b" " * MIB, {}, 413),
        "said to be large": (b"[]", {"content_length": str(MIB + 1)}, 413),
        "a bomb": (gzip.compress(b" " * (100 * MIB)), packed, 413),
        "a bomb of parts": (gzip.compress(b" " * MIB) * 2, packed, 413),
        "a bomb of zstd": (zstandard.compress(b" " * (100 * MIB)), zstd, 413),
        "packed otherwise": (zlib.compress(b"[]"), packed, 400),
        "of too many events": (b"[" + b",".join([b"1"] * 10_001) + b"]", {}, 400),
        # Each costs a copy of all that follow.
        "of many parts": (gzip.compress(b"[") + gzip.compress(b"") * 200 + gzip.compress(b"]"), packed, 400),
    }


def test_bodies__that_are_not_taken__are_refused(worker: Worker) -> None:
    bodies = _bodies()

    found = {name: worker.post(body, **headers).status for name, (body, headers, _) in bodies.items()}

    assert found == {name: status for name, (_, _, status) in bodies.items()}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/events/batch", 405), ("POST", "/healthz", 405), ("GET", "/", 404), ("PUT", "/nowhere", 404)],
)
def test_route__that_is_none__is_refused(worker: Worker, method: str, path: str, status: int) -> None:
    assert worker.run(worker.asked(method, path, b"")).status == status


def test_rate__of_a_token_used_up__is_429_with_what_is_left(
    empty_product: Product, new_worker: Callable[..., Worker]
) -> None:
    worker = new_worker(event_rate_per_minute=100)

    first = worker.post([envelope() for _ in range(60)])
    second = worker.post([envelope() for _ in range(60)])

    assert (first.status, first.headers["ratelimit-limit"], first.headers["ratelimit-remaining"]) == (200, "100", "40")
    # As the window slides, a little of it is free again.
    assert second.status == 429
    assert 40 <= int(second.headers["ratelimit-remaining"]) < 60
    assert 1 <= int(second.headers["retry-after"]) <= 60
    assert count(empty_product) == 60


def test_store__too_slow_for_what_comes__is_429(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, empty_product: Product
) -> None:
    monkeypatch.setattr(commits, "MOST_WAITING", 5)

    async def two() -> list[Any]:
        return await asyncio.gather(*(worker.asked("POST", "/v1/events/batch", [envelope()] * 3) for _ in range(2)))

    answers = worker.run(two())

    assert sorted(answer.status for answer in answers) == [200, 429]
    assert {answer.headers.get("retry-after") for answer in answers} == {None, "1"}


@pytest.mark.parametrize("store", ["clickhouse_url", "database_url"])
def test_store__that_is_away__is_503_and_nothing_is_acknowledged(
    empty_product: Product, new_worker: Callable[..., Worker], store: str
) -> None:
    address = {"clickhouse_url": "http://127.0.0.1:1/analytics", "database_url": "postgresql://127.0.0.1:1/x"}[store]
    url = type(empty_product.settings)(**{store: address}).model_dump()[store]  # type: ignore[arg-type]
    worker = new_worker(**{store: url})

    answer, ready, healthy = worker.post([envelope()]), worker.get("/readyz"), worker.get("/healthz")

    assert (answer.status, answer.headers["retry-after"]) == (503, "2")
    named = "clickhouse" if store == "clickhouse_url" else "postgres"
    assert (ready.status, ready.json["missing"]) == (503, [named])
    assert healthy.status == 200
    assert count(empty_product) == 0


def test_ready__stores_answer__is_200(worker: Worker) -> None:
    assert worker.get("/readyz").json == {"status": "ok"}


def test_metrics__after_requests__count_verdicts_and_statuses(worker: Worker) -> None:
    worker.post([envelope(), "bad"])
    worker.post(b"{")

    shown = worker.get("/metrics").body.decode()

    assert 'analytics_ingest_events_total{verdict="accepted"} 1.0' in shown
    assert 'analytics_ingest_events_total{verdict="rejected"} 1.0' in shown
    assert 'analytics_ingest_requests_total{status="400"} 1.0' in shown
    assert "analytics_ingest_commit_seconds_count 1.0" in shown


def test_schema__of_events__is_json_schema_of_every_type(worker: Worker) -> None:
    schema = worker.get("/v1/events/schema").json

    kinds = schema["$defs"]["Sent"]["properties"]["event"]["discriminator"]["mapping"]
    assert {"task_created", "custom", "oauth_flow_started", "o_auth_flow_started"} <= set(kinds)
    assert len(kinds) == 37


def test_end__with_requests_that_wait__answers_them(empty_product: Product, new_worker: Callable[..., Worker]) -> None:
    worker = new_worker()

    async def ended() -> Any:
        asked = asyncio.ensure_future(worker.asked("POST", "/v1/events/batch", batch(envelope())))
        while not worker.app.events_waiting:
            await asyncio.sleep(0.001)
        await worker.app.end()
        return await asked

    answer = worker.run(ended())

    late = worker.post([envelope()])

    assert (answer.status, answer.verdicts, count(empty_product)) == (200, ["accepted"], 1)
    assert late.status == 503
