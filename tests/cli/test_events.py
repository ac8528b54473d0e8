"""`events` as operators use it: what comes in, and what was rejected."""

import json
import time

import pytest

from analytics_pipeline.config import Settings
from analytics_pipeline.flows.product_events.decoding import Arrived, Head, decoded
from analytics_pipeline.flows.product_events.ingestion import Ingestion, Submission
from analytics_pipeline.flows.product_events.rows import row_maker
from analytics_pipeline.migrations import migrate
from tests.cli.commands import DONE, GAPS, USAGE, run, run_json
from tests.flows.product_events.samples import batch, completed, envelope, moment, request
from tests.product import Product

pytestmark = pytest.mark.usefixtures("elsewhere")


def ingested(product: Product, *events: object, organisation: int = 1) -> None:
    maker = row_maker(product.settings)
    arrived = decoded(json.dumps(batch(*events)).encode(), "json")
    entries = maker.made(organisation, Arrived(Head(), arrived.events), time.time_ns() // 1_000_000)
    ingestion = Ingestion(product.postgres, lambda: product.clickhouse, maker, lambda _, ids: {*ids})
    ingestion.commit([Submission(0, organisation, "request", entries)])


def test_dead_letters__of_rejected_events__are_listed_of_each_organisation(empty_product: Product) -> None:
    bad = envelope(request(status_code="200", user_id="bob@example.com"))
    ingested(empty_product, bad, envelope({"type": "unknown", "secret": "S3CRET"}))
    ingested(empty_product, envelope(timestamp=moment(days=91)), organisation=2)

    mine, result = (
        run_json("events", "dead-letters", "list", "--organisation", "1"),
        run("events", "dead-letters", "list"),
    )

    assert [(one["organisation_id"], one["event_id"], one["reason"]) for one in mine] == [
        (1, bad["id"], "event.status_code: Expected `int`, got `str`"),
        (1, mine[1]["event_id"], "event.type: it is not the name of a type of event"),
    ]
    event = json.loads(mine[0]["payload"])["event"]
    assert event == {
        "type": "api_request",
        "service": "web",
        "endpoint": "/tasks/{id}",
        "method": "GET",
        "duration_ms": 12,
    }
    assert (json.loads(mine[1]["payload"])["event"], result.exit_code) == ({}, GAPS)
    assert "bob@example.com" not in result.output
    assert "older than 90 days" in result.stdout


def test_replay__what_has_become_acceptable__is_stored_and_leaves(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = envelope(completed(), timestamp=moment(days=95))
    ingested(empty_product, old, envelope(request(duration_ms="x")))
    monkeypatch.setenv("EVENT_RETENTION_DAYS", "100")
    migrate(Settings.load(), ["pre"])

    first, second = (run("events", "dead-letters", "replay").stdout for _ in range(2))

    assert (first, second) == ("Stored: 1. Still rejected: 1.\n", "Stored: 0. Still rejected: 1.\n")
    rows = empty_product.clickhouse.query("SELECT toString(event_id), duration_ms, service FROM analytics_events")
    assert rows == [(old["id"], 500, "unknown")]


def test_purge__of_one_organisation__leaves_the_others(empty_product: Product) -> None:
    ingested(empty_product, envelope(request(duration_ms="x")))
    ingested(empty_product, envelope(request(duration_ms="x")), organisation=2)

    nothing, removed = (
        run("events", "dead-letters", "purge"),
        run("events", "dead-letters", "purge", "--organisation", "1"),
    )
    left = run_json("events", "dead-letters", "list")
    run("events", "dead-letters", "purge", "--all")

    assert (nothing.exit_code, removed.stdout, [one["organisation_id"] for one in left]) == (
        USAGE,
        "Removed: 1.\n",
        [2],
    )
    assert run("events", "dead-letters", "list").exit_code == DONE


def test_dead_letters__too_many_and_too_old__are_forgotten(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analytics_pipeline.flows.product_events.letters.MOST_OF_ORGANISATION", 3)
    ingested(empty_product, *(envelope(request(duration_ms="x")) for _ in range(5)))
    newest = [one["id"] for one in run_json("events", "dead-letters", "list")]
    empty_product.execute("UPDATE analytics_pipeline.dead_letters SET recorded_at = now() - interval '15 days'")
    ingested(empty_product, envelope(request(duration_ms="x")))

    assert len(newest) == 3
    assert len(run_json("events", "dead-letters", "list")) == 1


def test_tail__with_filters__shows_each_event_once(empty_product: Product) -> None:
    ingested(empty_product, envelope(), envelope(completed()))
    ingested(empty_product, envelope(), organisation=2)

    result = run("events", "tail", "--type", "api_request", "--organisation", "1", "--for", "1.5", "--json")
    text = run("events", "tail", "--service", "web", "--for", "0").stdout

    (line,) = result.stdout.splitlines()
    assert (json.loads(line)["service"], json.loads(line)["endpoint"]) == ("web", "/tasks/{id}")
    assert [one.partition(" org ")[2] for one in sorted(text.splitlines(), key=lambda one: one[24:])] == [
        "1 web api_request /tasks/{id}",
        "2 web api_request /tasks/{id}",
    ]
