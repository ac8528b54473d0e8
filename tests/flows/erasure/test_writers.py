"""Whoever writes at the moment of forgetting, or from what was restored, brings nobody back; the check sees who did."""

import gzip
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest
from obstore.store import LocalStore

from analytics_pipeline.flows.ai_usage.source import DUO_CHAT_EVENTS
from analytics_pipeline.flows.daily_copy.changed import changed_days
from analytics_pipeline.flows.daily_copy.copy import DayCopy
from analytics_pipeline.flows.erasure import subjects
from analytics_pipeline.flows.erasure.audit import leftovers
from analytics_pipeline.flows.erasure.landing import Named, found_in, leave_out
from analytics_pipeline.flows.erasure.naming import CLICKHOUSE, POSTGRES
from analytics_pipeline.flows.identities.units import EXPORT_FORMAT
from analytics_pipeline.flows.product_events.ingestion import Ingestion
from analytics_pipeline.resources.landing import LandingZone
from analytics_pipeline.resources.landing_units import LandedFile, Manifest
from analytics_pipeline.resources.object_stores import directory_of
from tests.flows.erasure.test_forget import erasure
from tests.flows.erasure.world import EVENT_USER, OTHER_EVENT_USER, World
from tests.flows.product_events.events import at, event, store
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
    saved = {file: (root / unit / file).read_bytes() for file in (one.name for one in product.landing.stored(unit))}
    erasure(product, subjects.identity(KEY, "anna")).run()
    product.landing.remove(unit)
    for name, content in saved.items():
        (root / unit / name).write_bytes(content)

    world.load()

    assert {identifier for _, identifier in product.snapshot()} == {"bob"}
    assert product.loads() == {KEY: ("completed", 1)}


def test_check__rows_that_came_back__are_found_by_their_hashes(empty_product: Product) -> None:
    everything = [*CLICKHOUSE, *POSTGRES]
    for subject in (subjects.user("7"), subjects.user(EVENT_USER), subjects.numbered("account", "12")):
        erasure(empty_product, subject).run()
    clean = leftovers(empty_product.postgres, empty_product.clickhouse, everything, ["source"])
    store(empty_product.clickhouse, [event(1, at(1), user_id=EVENT_USER), event(2, at(1))])
    empty_product.clickhouse.execute("INSERT INTO duo_chat_events (id, user_id) VALUES (1, 7), (2, 7), (3, 8)")
    empty_product.clickhouse.execute(
        "INSERT INTO analytics_errors_hourly (organisation_id, users) SELECT 1, uniqExactState(toUUID({user:String}))",
        user=EVENT_USER,
    )
    empty_product.execute(
        "INSERT INTO analytics_pipeline.enablements (feature, scope, epoch, setting, last_attempt)"
        " VALUES ('reporting', 'account:12', 1, 'UTC', 3)"
    )
    empty_product.execute(
        "INSERT INTO analytics_pipeline.dead_letters (flow, unit, record_key, reason, payload, run_id)"
        " VALUES ('source', 'reporting_events', '', 'x', '{\"user_id\": 7}', ''), ('source', 'x', '', '', '{', '')"
    )

    found = leftovers(empty_product.postgres, empty_product.clickhouse, everything, ["source"])

    assert (clean.compared, clean.found) == (3, [])
    assert {(one.place, one.kind, one.subjects) for one in found.found} == {
        ("clickhouse.analytics_events", "event_user", 1),
        ("clickhouse.duo_chat_events", "user", 1),
        ("clickhouse.analytics_errors_hourly", "event_user", 1),
        ("postgres.enablements", "account", 1),
        ("postgres.dead_letters", "any", 1),
    }


def test_leave_out__of_an_export__drops_every_document_that_names_them(tmp_path: Path) -> None:
    zone = LandingZone(LocalStore(tmp_path))
    named = {"environment_api_key": {"S": "e"}, "identifier": {"S": 'aé"b'}}
    lines = [
        {"Item": named},
        {"Item": {"environment_api_key": {"S": "e"}, "identifier": {"S": "other"}}},
        {"Item": {"environment_api_key": {"S": "f"}, "identifier": {"S": 'aé"b'}}},
        {"Item": {"identifier": {"S": 'aé"b'}}},
        {"Item": {**named, "identifier": {"N": "5"}, "composite_key": {"S": 'e_aé"b'}}},
    ]
    content = b"\n".join(map(msgspec.json.encode, lines)).replace("é".encode(), b"\\u00e9") + b"\nno JSON\n"
    (tmp_path / "unit/x/data").mkdir(parents=True)
    (tmp_path / "unit/x/data/1.json.gz").write_bytes(gzip.compress(content))
    (tmp_path / "unit/left").write_bytes(b"behind")
    file = LandedFile("x/data/1.json.gz", 6, (tmp_path / "unit/x/data/1.json.gz").stat().st_size)
    zone.adopt("unit", Manifest(EXPORT_FORMAT, NOON, (file,), {"items": 6}))
    who = Named(lambda environment, identifier: (environment, identifier) == ("e", 'aé"b'), 'aé"b')

    before = found_in(zone, "unit", who)
    removed = [leave_out(zone, "unit", who), leave_out(zone, "unit", who)]
    manifest = zone.manifest("unit")

    assert manifest is not None
    (new,) = manifest.files
    stored = {one.name: one for one in zone.stored("unit")}
    kept = gzip.decompress((tmp_path / "unit" / new.name).read_bytes())
    assert (before, removed, manifest.about) == (2, [2, 0], {"items": 4})
    assert stored.keys() == {"manifest.json", new.name}
    assert (new.rows, new.bytes, new.etag) == (4, stored[new.name].bytes, stored[new.name].etag)
    assert kept == b"".join(line + b"\n" for line in content.splitlines() if b'"e"' not in line or b"other" in line)
