"""The identity assets through Dagster, on real engines: slices replaced, failures isolated, reruns change nothing."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
import time_machine
from boto3.dynamodb.types import TypeSerializer

from analytics_pipeline.flows.identities.units import unit_of
from analytics_pipeline.orchestration.partitions import range_tags
from tests.product import KEY, Product, document, failure_text, today
from tests.thorough import rarely


def test_graph__materialised_twice__second_run_changes_nothing(product: Product) -> None:
    product.put(document("alice", plan="pro"), document("bob", plan="free"), document("carol"))

    first = product.materialise()
    rows = (product.snapshot(), product.history(), product.current(), product.loads())
    second = product.materialise()

    assert (first.success, second.success) == (True, True)
    assert rows == (
        {(KEY, "alice"): {"plan": "pro"}, (KEY, "bob"): {"plan": "free"}, (KEY, "carol"): {}},
        {(1, 100): (1, "counted")},
        {(1, 100): (1, "counted")},
        {KEY: ("completed", 3)},
    )
    assert (product.snapshot(), product.history(), product.current(), product.loads()) == rows


def test_graph__identities_change_and_vanish__next_run_follows_the_source(product: Product) -> None:
    product.put(document("alice", plan="pro"), document("bob", plan="pro"), document("carol", plan="free"))
    product.materialise()
    product.put(document("carol", plan="pro"), document("dave"))
    product.remove("alice")
    product.remove("bob")

    assert product.materialise().success

    assert product.snapshot() == {(KEY, "carol"): {"plan": "pro"}, (KEY, "dave"): {}}
    assert product.history() == {(1, 100): (1, "counted")}


def test_graph__environment_becomes_empty__counts_zero(product: Product) -> None:
    product.put(document("alice", plan="pro"))
    product.materialise()
    product.remove("alice")

    assert product.materialise().success

    assert product.snapshot() == {}
    assert (product.history(), product.current()) == ({(1, 100): (0, "counted")},) * 2


def test_graph__landing_zone_in_s3__works_as_on_a_disk(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    boto3.client("s3").create_bucket(
        Bucket=f"landing-{product.table.replace('_', '-')}",
        CreateBucketConfiguration={"LocationConstraint": "eu-west-1"},
    )
    monkeypatch.setenv("LANDING_URL", f"s3://landing-{product.table.replace('_', '-')}/some/prefix")
    product.put(document("alice", plan="pro"), document("bob"))
    assert product.materialise().success
    product.remove("bob")

    assert product.materialise().success

    assert product.snapshot() == {(KEY, "alice"): {"plan": "pro"}}


@pytest.mark.slow
def test_graph__range_with_a_closed_day__is_refused_before_anything_is_captured(product: Product) -> None:
    product.put(document("alice", plan="pro"))
    closed, tags = today() - timedelta(days=3), range_tags(today() - timedelta(days=3), today())

    result = product.materialise(tags=tags)

    assert not result.success
    assert f"{closed} closed for capture" in failure_text(result)
    assert "No day of the range was captured: ask for the days that are still open alone." in failure_text(result)
    assert result.get_asset_materialization_events() == []
    assert product.landing.stored("identities") == []


def test_graph__range_of_open_days__is_captured_loaded_and_counted(product: Product) -> None:
    product.put(document("alice", plan="pro"))
    yesterday, today_ = today() - timedelta(days=1), today()

    with time_machine.travel(datetime(today_.year, today_.month, today_.day, 1, tzinfo=timezone.utc), tick=True):
        assert product.materialise(tags=range_tags(yesterday, today_)).success

    expected = {(1, 100): (1, "counted")}
    assert (product.history(yesterday), product.history(today_)) == (expected, expected)


@pytest.mark.parametrize(
    ("projection", "lacking"),
    [
        ({"ProjectionType": "KEYS_ONLY"}, "django_id, identity_traits, system_traits"),
        *rarely(({"ProjectionType": "INCLUDE", "NonKeyAttributes": ["identity_traits", "django_id"]}, "system_traits")),
    ],
)
def test_raw_identities__index_without_all_that_is_read__is_refused_and_keeps_the_capture(
    product: Product, projection: Mapping[str, Any], lacking: str
) -> None:
    product.put(document("alice", plan="pro"))
    product.materialise()
    before = product.landing.manifest(unit_of(today(), KEY))
    product.recreate_identities_table(projection)
    product.put(document("alice", plan="pro"))

    result = product.materialise("raw_identities")

    assert not result.success
    assert f"does not hold {lacking} (its projection is {projection['ProjectionType']})" in failure_text(result)
    assert "set IDENTITIES_INDEX to it, or set IDENTITY_READER=export" in failure_text(result)
    assert product.landing.manifest(unit_of(today(), KEY)) == before


@pytest.mark.slow
def test_raw_identities__index_includes_all_that_is_read__is_captured(product: Product) -> None:
    included = ["identity_traits", "system_traits", "django_id"]
    product.recreate_identities_table({"ProjectionType": "INCLUDE", "NonKeyAttributes": included})
    product.put(document("alice", plan="pro"))

    assert product.materialise().success

    assert product.snapshot() == {(KEY, "alice"): {"plan": "pro"}}


def test_raw_identities__index_is_absent__is_refused(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDENTITIES_INDEX", "no-such-index")

    result = product.materialise("raw_identities")

    assert f"The table {product.table} has no index no-such-index. Check IDENTITIES_INDEX." in failure_text(result)


@pytest.mark.slow
def test_graph__staging_tables__none_is_left(product: Product) -> None:
    before = product.tables()
    product.put(document("alice", plan="pro"))

    product.materialise()

    assert product.tables() == before


@pytest.mark.slow
def test_snapshots__other_days__keep_their_rows(product: Product) -> None:
    product.put(document("alice", plan="pro"))
    product.materialise()
    yesterday = today() - timedelta(days=1)
    product.clickhouse.execute(
        "INSERT INTO identities (snapshot_date, project_id, environment_id, identifier, identity_key, inserted_at)"
        " VALUES ({day:Date}, 10, {key:String}, 'alice', 'k', '2020-01-01 00:00:00'),"
        " ({day:Date}, 10, {key:String}, 'gone', 'k', '2020-01-01 00:00:00')",
        day=yesterday,
        key=KEY,
    )

    product.materialise()

    assert product.snapshot() == {(KEY, "alice"): {"plan": "pro"}}
    assert product.snapshot(yesterday) == {(KEY, "alice"): {}, (KEY, "gone"): {}}


def test_snapshots__run_again__only_what_is_missing_is_loaded(product: Product) -> None:
    product.put(document("alice", plan="pro"))
    product.materialise("raw_identities", "identity_snapshots")

    result = product.materialise("identity_snapshots")

    (materialization,) = result.asset_materializations_for_node("identity_snapshots")
    assert materialization.metadata["environments_loaded"].value == 0
    assert materialization.metadata["environments_unchanged"].value == 1


@pytest.mark.slow
def test_snapshots__reload_configured__loads_what_is_complete(product: Product) -> None:
    product.put(document("alice", plan="pro"))
    product.materialise("raw_identities", "identity_snapshots")

    result = product.materialise("identity_snapshots", reload=True)

    (materialization,) = result.asset_materializations_for_node("identity_snapshots")
    assert materialization.metadata["environments_loaded"].value == 1
    assert product.snapshot() == {(KEY, "alice"): {"plan": "pro"}}


@pytest.mark.slow
def test_snapshots__table_lost_its_rows__run_again_restores_them(product: Product) -> None:
    product.put(document("alice", plan="pro"))
    product.materialise()
    product.clickhouse.execute("TRUNCATE TABLE identities")

    product.materialise("identity_snapshots")

    assert product.snapshot() == {(KEY, "alice"): {"plan": "pro"}}


def test_snapshots__one_capture_damaged__others_load_and_the_run_says_which(product: Product) -> None:
    product.add_environment(101, key="other")
    product.put(document("alice", plan="pro"), document("olga", "other"))
    product.materialise()
    product.put(document("bob"), document("oscar", "other"))
    product.materialise("raw_identities")
    _damage(product, "other")

    result = product.materialise("identity_snapshots")

    assert not result.success
    assert "differs from its manifest's checksum" in failure_text(result)
    assert f"Repair: materialise identity_snapshots of {today()} again" in failure_text(result)
    assert set(product.snapshot()) == {(KEY, "alice"), (KEY, "bob"), ("other", "olga")}
    assert product.loads() == {KEY: ("completed", 2), "other": ("failed", 1)}


@pytest.mark.slow
def test_snapshots__failed_environment_captured_again__rerun_repairs_it(product: Product) -> None:
    product.put(document("alice", plan="pro"))
    product.materialise("raw_identities")
    _damage(product, KEY)
    assert not product.materialise("identity_snapshots").success

    assert product.materialise().success

    assert product.snapshot() == {(KEY, "alice"): {"plan": "pro"}}
    assert product.loads() == {KEY: ("completed", 1)}


@pytest.mark.slow
def test_raw_identities__manifest_is_damaged__next_capture_replaces_it(product: Product) -> None:
    product.put(document("alice", plan="pro"))
    product.materialise()
    assert product.settings.landing_url is not None
    manifest = Path(urlsplit(product.settings.landing_url).path) / unit_of(today(), KEY) / "manifest.json"
    manifest.write_text("{")
    assert "manifest.json cannot be read" in failure_text(product.materialise("identity_snapshots"))

    assert product.materialise().success

    assert product.snapshot() == {(KEY, "alice"): {"plan": "pro"}}


@pytest.mark.slow
def test_snapshots__environment_gone_since_the_day_closed__its_rows_stay(product: Product) -> None:
    closed = today() - timedelta(days=4)
    product.add_environment(101, key="other")
    product.put(document("alice"), document("olga", "other"))
    with time_machine.travel(datetime(closed.year, closed.month, closed.day, 12, tzinfo=timezone.utc), tick=True):
        assert product.materialise(day=closed).success
    product.execute("DELETE FROM environments WHERE id = 101")

    assert product.materialise("identity_snapshots", day=closed, reload=True).success

    assert set(product.snapshot(closed)) == {(KEY, "alice"), ("other", "olga")}


def test_snapshots__environment_gone_from_the_source__its_rows_go(product: Product) -> None:
    product.add_environment(101, key="other")
    product.put(document("alice"), document("olga", "other"))
    product.materialise()
    product.execute("DELETE FROM environments WHERE id = 101")

    assert product.materialise().success

    assert product.snapshot() == {(KEY, "alice"): {}}
    assert product.loads() == {KEY: ("completed", 1)}
    assert set(product.history()) == {(1, 100)}


def test_snapshots__nothing_captured__fails_with_what_to_do(product: Product) -> None:
    result = product.materialise("identity_snapshots")

    assert not result.success
    assert "materialise raw_identities while the day is open" in failure_text(result)


def test_raw_identities__closed_day__fails_and_keeps_the_capture(product: Product) -> None:
    result = product.materialise("raw_identities", day=today() - timedelta(days=3))

    assert not result.success
    assert "closed for capture" in failure_text(result)
    assert "materialise identity_snapshots alone" in failure_text(result)


def test_raw_identities__document_cannot_be_mapped__goes_to_dead_letters(product: Product) -> None:
    hostile = document("mallory") | {"identity_traits": "not a list"}
    product.put(document("alice", plan="pro"), hostile, document("eve", avatar=b"\x00"))

    assert product.materialise().success
    product.materialise()

    assert set(product.snapshot()) == {(KEY, "alice")}
    letters = product.execute("SELECT unit, record_key, reason FROM analytics_pipeline.dead_letters ORDER BY reason")
    assert letters == [
        (unit_of(today(), KEY), f"{KEY}_eve", "a trait holds binary data or a set"),
        (unit_of(today(), KEY), f"{KEY}_mallory", "identity_traits is not a list"),
    ]


def test_raw_identities__dead_letter__is_the_whole_document(product: Product) -> None:
    refused = document("eve", kinds={"a set"}) | {"django_id": None, "dashboard_alias": "snake"}
    product.put(refused)

    assert product.materialise("raw_identities").success

    ((payload,),) = product.execute("SELECT payload FROM analytics_pipeline.dead_letters")
    assert json.loads(payload) == {name: TypeSerializer().serialize(value) for name, value in refused.items()}


def test_graph__projects_configured__others_are_left_alone(product: Product) -> None:
    product.add_project(11)
    product.add_environment(110, project=11, key="second")
    product.add_segment(2, [], project=11)
    product.put(document("alice"), document("bob", "second"))

    assert product.materialise(projects=[11]).success

    assert set(product.snapshot()) == {("second", "bob")}
    assert set(product.current()) == {(2, 110)}


def test_graph__unknown_project_configured__fails_and_names_it(product: Product) -> None:
    result = product.materialise("raw_identities", projects=[10, 4711])

    assert not result.success
    assert "the source has no project 4711" in failure_text(result)


@pytest.mark.parametrize(
    ("variable", "reason"),
    [
        ("CLICKHOUSE_URL", "clickhouse_not_configured"),
        ("IDENTITIES_TABLE", "dynamodb_not_configured"),
        ("DATABASE_URL", "postgres_not_configured"),
    ],
)
def test_graph__store_not_configured__is_skipped_and_nothing_fails(
    product: Product, monkeypatch: pytest.MonkeyPatch, variable: str, reason: str
) -> None:
    monkeypatch.delenv(variable)

    result = product.materialise()

    assert result.success
    observed = [event.asset_observation_data.asset_observation for event in result.get_asset_observation_events()]
    assert [item.metadata["status"].value for item in observed] == [f"skipped: {reason}"]
    assert result.asset_materializations_for_node("segment_counts") == []


def test_graph__lease_held_by_another_run__is_skipped_and_changes_nothing(product: Product) -> None:
    product.put(document("alice"))
    with product.postgres.lease(f"identities:{today()}"):
        result = product.materialise("raw_identities")

    assert result.success
    assert result.asset_materializations_for_node("raw_identities") == []
    assert product.landing.manifest(unit_of(today(), KEY)) is None


def test_graph__reversed_range__fails(product: Product) -> None:
    tags = {
        "dagster/asset_partition_range_start": today().isoformat(),
        "dagster/asset_partition_range_end": (today() - timedelta(days=2)).isoformat(),
    }

    result = product.materialise("identity_snapshots", tags=tags)

    assert not result.success
    assert "covers no day" in failure_text(result)


def _damage(product: Product, environment_key: str) -> None:
    """Flip one byte of the environment's captured file."""
    unit = unit_of(today(), environment_key)
    manifest = product.landing.manifest(unit)
    assert manifest is not None
    assert product.settings.landing_url is not None
    path = Path(urlsplit(product.settings.landing_url).path) / unit / manifest.files[0].name
    content = bytearray(path.read_bytes())
    content[-1] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.slow
@pytest.mark.parametrize("length", [228, *rarely(229, 1000)])
def test_capture__environment_key_is_longer_than_a_file_name__is_kept_all_the_same(
    product: Product, length: int
) -> None:
    keys = ["k" * length, "k" * (length - 1) + "ключ"]
    for number, key in enumerate(keys):
        product.add_environment(200 + number, key=key)
        product.put(document("alice", key, n=number))

    assert product.materialise("raw_identities", "identity_snapshots").success

    assert product.snapshot() == {(key, "alice"): {"n": number} for number, key in enumerate(keys)}
