"""Nothing that may not leave is ever in a batch, a log, an error, a ledger or a dead letter, whatever payloads hold."""

import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_pipeline.resources.sinks.base import Batch, SinkUnavailable
from tests.flows.usage_export.event_log import add_event, allow, begin, due_again, run
from tests.flows.usage_export.receivers import Receiver
from tests.product import Product
from tests.thorough import on_engines

SECRET = "S3CRET"
# Keys that are nearly those that are allowed, and others.
KEYS = st.one_of(
    st.sampled_from(["kind", "Kind", "kind ", "*", "", "argument", 'k"ind', "k\\ind", "kínd", "size"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8),
)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)
SECRETS = TEXTS.map(lambda text: f"{text}{SECRET}{text}")
VALUES = st.one_of(TEXTS, st.integers(-(2**70), 2**70), st.booleans(), st.none())
DEEP = st.one_of(st.lists(SECRETS, min_size=1, max_size=2), st.dictionaries(KEYS, SECRETS, min_size=1, max_size=2))
ALLOWED = ("kind", "size")
NOT_EXPORTED = "not exported: neither text nor number nor boolean"


@st.composite
def payloads(draw: st.DrawFn) -> dict[str, Any]:
    """Allowed keys with values of any kind, of which those inside of others are secret; all other keys hold secrets."""
    secret = {key: draw(st.one_of(SECRETS, DEEP)) for key in draw(st.lists(KEYS, max_size=5)) if key not in ALLOWED}
    return {**secret, **{key: draw(st.one_of(VALUES, DEEP)) for key in ALLOWED if draw(st.booleans())}}


def expected(payload: object) -> dict[str, Any]:
    """The oracle."""
    if not isinstance(payload, dict):
        return {}
    allowed = {key: value for key, value in payload.items() if key in ALLOWED}
    return {key: value if isinstance(value, str | bool | int) else NOT_EXPORTED for key, value in allowed.items()}


@on_engines(25)
@given(
    argument=st.one_of(payloads(), st.lists(SECRETS, max_size=3)),
    flags=payloads(),
    other=st.one_of(payloads(), st.lists(SECRETS, min_size=1, max_size=2)),
    fails=st.booleans(),
    text=TEXTS,
)
def test_export__any_payload__only_what_is_allowed_leaves_and_nothing_else_shows(
    empty_product: Product,
    caplog: pytest.LogCaptureFixture,
    argument: object,
    flags: dict[str, Any],
    other: object,
    text: str,
    fails: bool,
) -> None:
    empty_product.execute(
        "TRUNCATE event_logs RESTART IDENTITY; TRUNCATE analytics_pipeline.event_logs_scrape_state,"
        " analytics_pipeline.export_deliveries, analytics_pipeline.dead_letters"
    )
    caplog.set_level(logging.DEBUG)
    caplog.clear()
    allow(empty_product, ViewSearch=ALLOWED)
    private = json.dumps({"password": SECRET})
    add_event(empty_product, argument=private, public_argument=json.dumps(argument), feature_flags=json.dumps(flags))
    add_event(empty_product, argument=private, public_argument=json.dumps(other), referrer=text, url=SECRET)
    add_event(empty_product, SECRET, argument=private, referrer=SECRET)
    begin(empty_product, "receiver")

    def trouble(batch: Batch) -> None:
        if fails:
            raise ValueError(batch.lines)

    receiver = Receiver(trouble=trouble, refused={2})
    served = run(empty_product, receiver)
    fails = False
    due_again(empty_product)
    run(empty_product, receiver)

    first, second = receiver.records
    assert (json.loads(first["public_argument"]), json.loads(first["feature_flags"])) == (
        expected(argument),
        expected(flags),
    )
    assert (json.loads(second["public_argument"]), second["referrer"]) == (expected(other), text)
    assert SECRET.encode() not in b"".join(batch.lines for batch in receiver.batches)
    shown = [caplog.text, str(served), *_ledgers(empty_product)]
    assert [part for part in shown if SECRET in part or "kind" in part] == []


def _ledgers(product: Product) -> list[str]:
    """All that our own tables hold of the export."""
    tables = ("event_logs_scrape_state", "export_deliveries", "dead_letters", "event_logs_gaps")
    return [str(product.execute(f"SELECT * FROM analytics_pipeline.{table}")) for table in tables]


def test_export__a_receiver_that_is_away__is_told_without_its_records(
    empty_product: Product, caplog: pytest.LogCaptureFixture
) -> None:
    allow(empty_product, ViewSearch=["kind"])
    add_event(empty_product, public_argument={"kind": SECRET})
    begin(empty_product, "receiver")

    def away(_: Batch) -> None:
        raise SinkUnavailable("it is away")

    (served,) = run(empty_product, Receiver(trouble=away))

    assert (served.error, SECRET in caplog.text) == ("it is away", False)
