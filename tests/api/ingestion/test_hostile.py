"""Hostile bodies: random changes of an event's bytes get a verdict or a 4xx, and no neighbour is lost."""

import asyncio
import gzip
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from tests.api.ingestion.conftest import Answer, Worker
from tests.flows.product_events.samples import batch, completed, custom, envelope, request
from tests.product import Product

AT_ONCE = 250
_BYTES = (b"\x00", b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\xff", b"\n")
_VALUES = (b"null", b"true", b"-1", b"1.5", b"NaN", b"1e999", b"123456789012345678901234567890", b'"\\u0000"')
_TEXTS = (b'"\\ud800"', b'"2026-13-45T99:00:00Z"', b'"0001-01-01T00:00:00+14:00"', b'"\xf0\x9f\x92\xa9"')
_NESTED = (b"[" * 300, b'{"a":' * 50, b'{"":1,"a.b":2,"a":{"b":3},"a":4}', b'"type":"custom"')
TOKENS = (*_BYTES, *_VALUES, *_TEXTS, *_NESTED, b'"9999-12-31T23:59:59.999999-14:00"')


@dataclass(frozen=True)
class Sent:
    """A body of three events: the middle one was changed, the outer ones have these ids."""

    outer: tuple[str, str]
    body: bytes
    headers: dict[str, str]


def mutated(chance: random.Random, data: bytes) -> bytes:
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        end = min(len(data), at + chance.choice((0, 1, 1, 2, 8, 40)))
        put = chance.choice((b"", bytes([chance.randrange(256)]), chance.choice(TOKENS), data[at:end] * 2))
        data = data[:at] + put + data[end:]
    return data


def sent(chance: random.Random) -> Sent:
    nested = {"error": "x", "list": [1, {"email": "a@b.io"}], "deep": {"a": {"b": {"c": 1.5}}}, "text": "2026-01-01"}
    context = {"type": "application_error", "service": "s", "error_type": "t", "error_message": "m", "context": nested}
    kinds = (request(), completed(), custom(), {**custom(), "properties": nested}, context)
    first, last = envelope(), envelope(completed())
    middle = mutated(chance, json.dumps(envelope(chance.choice(kinds))).encode())
    one, two = (json.dumps(event).encode() for event in (first, last))
    outer = (first["id"], last["id"])
    form = chance.randrange(4)
    if form == 0:
        return Sent(outer, b"\n".join((one, middle, two)), {"content_type": "application/x-ndjson"})
    events = b"[" + b",".join((one, middle, two)) + b"]"
    if form == 1:
        return Sent(outer, events, {})
    whole = json.dumps(batch()).encode()[:-3] + events + b"}"
    if form == 2:
        return Sent(outer, whole, {})
    packed = gzip.compress(mutated(chance, whole) if chance.random() < 0.5 else whole, 1)
    return Sent(outer, packed if chance.random() < 0.5 else mutated(chance, packed), {"content_encoding": "gzip"})


def check(one: Sent, answer: Answer) -> Sequence[str]:
    """Ids that were acknowledged; what was read has a verdict for each event, and its outer events are accepted."""
    assert 200 <= answer.status < 500, (answer.status, one.body)
    if answer.status != 200:
        return ()
    verdicts = answer.verdicts
    if "content_encoding" not in one.headers:
        assert (verdicts[0], verdicts[-1]) == ("accepted", "accepted"), (verdicts, one.body)
        assert set(verdicts) <= {"accepted", "duplicate", "rejected"}, one.body
        return one.outer
    return ()


def run(product: Product, worker: Worker, seed: int, rounds: int) -> int:
    chance = random.Random(seed)  # noqa: S311 - no secret
    acknowledged: set[str] = set()

    async def together(ones: Sequence[Sent]) -> list[Any]:
        return await asyncio.gather(
            *(worker.asked("POST", "/v1/events/batch", one.body, **one.headers) for one in ones)
        )

    for _ in range(rounds):
        ones = [sent(chance) for _ in range(AT_ONCE)]
        for one, answer in zip(ones, worker.run(together(ones)), strict=True):
            acknowledged |= {*check(one, answer)}
    stored = {one for (one,) in product.clickhouse.query("SELECT toString(event_id) FROM analytics_events FINAL")}
    assert acknowledged <= stored
    return len(acknowledged)


def test_bodies__changed_at_random__get_verdicts_and_lose_no_neighbour(empty_product: Product, worker: Worker) -> None:
    seed = random.randrange(1 << 32)  # noqa: S311 - no secret
    print("seed", seed)  # noqa: T201 - for who repeats it

    assert run(empty_product, worker, seed, rounds=8) > 1_000


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_bodies__changed_a_hundred_thousand_times__get_verdicts_and_lose_no_neighbour(
    empty_product: Product, worker: Worker
) -> None:
    seed = random.randrange(1 << 32)  # noqa: S311 - no secret
    print("seed", seed)  # noqa: T201 - for who repeats it

    assert run(empty_product, worker, seed, rounds=400) > 50_000
