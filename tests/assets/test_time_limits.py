"""Work that takes too long is stopped: it says what stopped, keeps what there was, and lets the others go on."""

import time
from collections.abc import Generator, Iterator, Mapping
from typing import Any

import msgspec
import pytest

from analytics_pipeline.flows.identities.reader import QueryReader
from analytics_pipeline.flows.segments import refresh
from analytics_pipeline.flows.segments.translation.conditions import Sql, Translator
from analytics_pipeline.resources.landing import LandingZone
from analytics_pipeline.resources.landing_units import LandedFile
from tests.product import KEY, Product, document, failure_text, today

# What would go on for ever is given this long, to end the test should nothing stop it.
ENDLESS_SECONDS = 30.0
SECOND = 1 / 3600


def test_capture__takes_too_long__is_stopped_and_keeps_the_earlier_capture(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    product.put(document("alice", plan="pro"))
    assert product.materialise().success
    pages = QueryReader.pages

    def endless(self: QueryReader, environment_key: str) -> Iterator[list[msgspec.Raw]]:
        (page,) = pages(self, environment_key)
        begun = time.monotonic()
        while time.monotonic() - begun < ENDLESS_SECONDS:
            time.sleep(0.05)
            yield page

    monkeypatch.setattr(QueryReader, "pages", endless)
    begun = time.monotonic()

    result = product.materialise("raw_identities", time_limit_hours=2 * SECOND)

    assert time.monotonic() - begun < ENDLESS_SECONDS
    assert "the capture was stopped" in failure_text(result)
    assert f"materialise raw_identities of {today()} again while the day is open" in failure_text(result)
    monkeypatch.setattr(QueryReader, "pages", pages)
    assert product.materialise("identity_snapshots", reload=True).success
    assert product.snapshot() == {(KEY, "alice"): {"plan": "pro"}}


@pytest.mark.slow
def test_load__takes_too_long__is_stopped_and_the_ledger_says_failed(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    product.put(document("alice", plan="pro"))
    assert product.materialise().success
    product.put(document("bob"))
    assert product.materialise("raw_identities").success
    read = LandingZone.read

    def endless(self: LandingZone, unit: str, file: LandedFile) -> Generator[bytes, None, None]:
        begun = time.monotonic()
        while time.monotonic() - begun < ENDLESS_SECONDS:
            time.sleep(0.05)
            yield b""
        yield from read(self, unit, file)

    monkeypatch.setattr(LandingZone, "read", endless)
    tables, begun = product.tables(), time.monotonic()

    result = product.materialise("identity_snapshots", time_limit_hours=2 * SECOND)

    assert time.monotonic() - begun < ENDLESS_SECONDS
    assert "the load was stopped" in failure_text(result)
    assert product.loads() == {KEY: ("failed", 1)}
    assert (product.snapshot(), product.tables()) == ({(KEY, "alice"): {"plan": "pro"}}, tables)
    monkeypatch.setattr(LandingZone, "read", read)
    assert product.materialise("identity_snapshots").success
    assert set(product.snapshot()) == {(KEY, "alice"), (KEY, "bob")}


def test_time_limit__second_step_of_a_run__shares_the_first_ones(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = QueryReader.pages

    def slow(self: QueryReader, environment_key: str) -> Iterator[list[msgspec.Raw]]:
        yield from pages(self, environment_key)
        time.sleep(8)

    monkeypatch.setattr(QueryReader, "pages", slow)

    result = product.materialise("raw_identities", "identity_snapshots", time_limit_hours=8 * SECOND)

    assert [event.step_key for event in result.get_step_success_events()][:1] == ["raw_identities"]
    assert "the load was stopped" in failure_text(result)


@pytest.mark.slow
def test_counts__project_takes_too_long__is_stopped_and_the_others_are_counted(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    product.add_project(11)
    product.add_environment(110, project=11, key="second")
    product.add_segment(2, [], project=11)
    product.put(*(document(f"user-{n}", plan="pro") for n in range(5)), document("olga", "second"))
    assert product.materialise().success
    before = product.history()
    product.put(document("user-6", plan="pro"))
    product.materialise("raw_identities", "identity_snapshots")
    _count_slowly(monkeypatch)
    begun = time.monotonic()

    result = product.materialise("segment_counts")

    assert time.monotonic() - begun < ENDLESS_SECONDS
    assert "project 10: counting was stopped after the 1 s that a project has; its stored counts stay" in (
        failure_text(result)
    )
    assert product.history() == before
    assert _refreshes(product) == [(10, "failed"), (11, "completed")]


def _count_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Translator.condition

    def slow(self: Translator, condition: Mapping[str, Any]) -> Sql:
        sql = right(self, condition)
        return Sql(f"sleepEachRow(0.4) = 0 AND ({sql.text})", sql.guards)

    monkeypatch.setattr(Translator, "condition", slow)
    monkeypatch.setattr(refresh, "SECONDS_PER_PROJECT", 1.0)


def _refreshes(product: Product) -> list[tuple[Any, ...]]:
    return product.execute("SELECT project_id, status FROM analytics_pipeline.segment_refreshes ORDER BY project_id")
