"""Whoever writes at the moment of forgetting, or from what was restored, brings nobody back; the check sees who did."""

from datetime import datetime, timezone
from typing import Any

import pytest

from analytics_pipeline.flows.ai_usage.source import DUO_CHAT_EVENTS
from analytics_pipeline.flows.daily_copy.changed import changed_days
from analytics_pipeline.flows.daily_copy.copy import DayCopy
from analytics_pipeline.flows.erasure import subjects
from analytics_pipeline.flows.product_events.ingestion import Ingestion
from analytics_pipeline.resources.object_stores import directory_of
from tests.flows.erasure.test_forget import erasure
from tests.flows.erasure.world import EVENT_USER, OTHER_EVENT_USER, World
from tests.flows.product_events.events import at
from tests.flows.product_events.samples import completed, envelope
from tests.product import KEY, Product, document, today

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


def test_copy__user_is_forgotten_between_its_stream_and_its_swap__leaves_them_out(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    for user in (7, 8):
        empty_product.add_chat(at(0, 0), user)
    swap = DayCopy._swap

    def forgetting(self: DayCopy, *arguments: Any) -> Any:
        erasure(empty_product, subjects.user("7")).run()
        return swap(self, *arguments)

    monkeypatch.setattr(DayCopy, "_swap", forgetting)
    (state,) = DayCopy(DUO_CHAT_EVENTS, empty_product.postgres, empty_product.clickhouse, "run").copy(today(), today())

    assert empty_product.clickhouse.query("SELECT user_id FROM duo_chat_events") == [(8,)]
    assert (state.rows, state.refused) == (1, 1)
    assert changed_days(empty_product.postgres, DUO_CHAT_EVENTS, [today()]) == set()


def test_ingestion__user_is_forgotten_before_their_events_are_stored__takes_them_back(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = Ingestion._outcomes

    def forgetting(self: Ingestion, *arguments: Any) -> Any:
        erasure(empty_product, subjects.user(EVENT_USER)).run()
        return stored(self, *arguments)

    monkeypatch.setattr(Ingestion, "_outcomes", forgetting)
    World(empty_product).ingest(1, *(envelope(completed(user_id=one)) for one in (EVENT_USER, OTHER_EVENT_USER)))

    users = empty_product.clickhouse.query("SELECT toString(user_id) FROM analytics_events")
    assert users == [(OTHER_EVENT_USER,)]
    assert empty_product.execute("SELECT count(*) FROM analytics_pipeline.dead_letters") == [(0,)]


def test_load__of_a_restored_landing_zone__leaves_out_whom_its_files_hold(product: Product) -> None:
    product.put(document("anna", plan="pro"), document("bob", plan="pro"))
    world = World(product)
    world.capture()
    unit, root = f"identities/day={today()}/environment={KEY}", directory_of(str(product.settings.landing_url))
