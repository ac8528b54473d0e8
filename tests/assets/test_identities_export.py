"""The identity assets with IDENTITY_READER=export, on real engines: what an export gives is what the query gives."""

import gzip
from dataclasses import dataclass, replace
from typing import Any

import boto3
import pytest

from analytics_pipeline.config import Settings
from analytics_pipeline.flows.identities.export import capture as export
from analytics_pipeline.flows.identities.export.source import ExportSource
from analytics_pipeline.flows.identities.units import export_unit_of, unit_of
from analytics_pipeline.resources.landing_units import MANIFEST, Manifest
from tests.product import KEY, Product, document, failure_text, today

ASSETS = ("raw_identities", "identity_snapshots")
SECRET = "very/secret+key"


@dataclass(frozen=True)
class Exported:
    """A product whose landing zone is a bucket and whose identities are captured by export."""

    product: Product
    bucket: str

    @property
    def manifest(self) -> Manifest:
        manifest = self.product.landing.manifest(export_unit_of(today()))
        assert manifest is not None
        return manifest

    def run(self, *assets: str, **config: Any) -> str:
        """Materialise; returns what the operator reads of a failure, '' without one."""
        return failure_text(self.product.materialise(*(assets or ASSETS), **config))

    def keys(self) -> list[str]:
        listed = boto3.client("s3").list_objects_v2(Bucket=self.bucket).get("Contents", [])
        return [entry["Key"] for entry in listed]

    def letters(self) -> list[tuple[str, str, str]]:
        return self.product.execute(
            "SELECT unit, record_key, reason FROM analytics_pipeline.dead_letters ORDER BY unit, record_key"
        )

    def rewrite(self, lines: bytes) -> None:
        """Put another file in the place of the export's."""
        key = f"some/prefix/{export_unit_of(today())}/{self.manifest.files[0].name}"
        boto3.client("s3").put_object(Bucket=self.bucket, Key=key, Body=gzip.compress(lines))


@pytest.fixture
def exported(product: Product, monkeypatch: pytest.MonkeyPatch) -> Exported:
    bucket = f"landing-{product.table.replace('_', '-')}"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("LANDING_URL", f"s3://{bucket}/some/prefix")
    monkeypatch.setenv("IDENTITY_READER", "export")
    boto3.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    _set_recovery(product, enabled=True)
    return Exported(replace(product, settings=Settings.load()), bucket)


def _set_recovery(product: Product, *, enabled: bool) -> None:
    boto3.client("dynamodb").update_continuous_backups(
        TableName=product.table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": enabled}
    )


def _hostile() -> list[dict[str, Any]]:
    return [
        document("list") | {"identity_traits": "not a list"},
        document("entry") | {"identity_traits": ["x"]},
        document("binary", avatar=b"\x00"),
        document("set", tags={"a", "b"}),
    ]


def _odd() -> list[dict[str, Any]]:
    return [
        document("nested", address={"city": "Köln", "codes": [1, 2**70, {"x": None}]}),
        document("dates", since="2024-01-01", at="2024-01-01T10:00:00Z"),
        document("numbers", small=1, big=2**63 - 1, bigger=2**63, least=-(2**63), lesser=-(2**63) - 1),
        document("ключ 🎉") | _listed({"a.b": 1, "back`tick": "\\", 'quo"te': "'", " ": "\u0000\n\t/", "a[]": True}),
        document("both", plan="free") | {"system_traits": {"plan": "pro", "cohort": True, "deep": {"a": 1}}},
        document("none") | {"identity_traits": None},
        document("empty") | {"identity_traits": []},
        document("migrated") | {"django_id": 4711},
        document("valueless") | {"identity_traits": [{"trait_key": "x"}]},
        document("again") | {"identity_traits": [{"trait_key": "x", "trait_value": n} for n in (1, None, 3)]},
        document("lastly") | {"identity_traits": [{"trait_key": "x", "trait_value": n} for n in (1, 2, None)]},
    ]


def _listed(traits: dict[str, Any]) -> dict[str, Any]:
    return {"identity_traits": [{"trait_key": key, "trait_value": value} for key, value in traits.items()]}


def _rows(product: Product) -> list[tuple[Any, ...]]:
    return product.clickhouse.query(
        "SELECT snapshot_date, project_id, environment_id, identifier, identity_key, toJSONString(traits), source"
        " FROM identities FINAL ORDER BY ALL"
    )


def test_export__all_kinds_of_documents__gives_what_the_query_gives(
    exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = exported.product
    product.add_environment(101, key="other")
    product.put(document("alice", plan="pro"), document("olga", "other", plan="free"), document("x", "unknown"))
    product.put(*_odd(), *_hostile())
    assert exported.run() == ""
    by_export = (_rows(product), product.loads(), exported.letters())

    monkeypatch.setenv("IDENTITY_READER", "query")
    assert exported.run() == ""

    assert (_rows(product), product.loads(), exported.letters()) == by_export
    assert len(product.snapshot()) == 2 + len(_odd())
    assert len(exported.letters()) == len(_hostile())


def test_export__materialised_twice__second_run_changes_nothing(exported: Exported) -> None:
    exported.product.put(document("alice", plan="pro"), document("bob"))
    assert exported.run() == ""
    first = (_rows(exported.product), exported.product.loads())
    loaded = exported.product.materialise("identity_snapshots")

    assert exported.run() == ""

    assert (_rows(exported.product), exported.product.loads()) == first
    (materialization,) = loaded.asset_materializations_for_node("identity_snapshots")
    assert materialization.metadata["environments_unchanged"].value == 1
    assert materialization.metadata["dagster/partition_row_count"].value == 2
    assert not [name for name in exported.product.tables() if name.startswith("staging_")]


@pytest.mark.slow
def test_export__captured_again__only_the_new_files_and_the_manifest_are_kept(exported: Exported) -> None:
    exported.product.put(document("alice"))
    assert exported.run("raw_identities") == ""
    before = exported.manifest

    assert exported.run("raw_identities") == ""

    assert exported.manifest.captured_at > before.captured_at
    unit = f"some/prefix/{export_unit_of(today())}"
    assert exported.keys() == sorted([f"{unit}/{exported.manifest.files[0].name}", f"{unit}/{MANIFEST}"])


def test_export__identities_change_and_vanish__next_run_follows_the_source(exported: Exported) -> None:
    product = exported.product
    product.put(document("alice", plan="pro"), document("bob"))
    assert exported.run() == ""
    product.put(document("bob", plan="free"), document("carol"))
    product.remove("alice")

    assert exported.run() == ""

    assert product.snapshot() == {(KEY, "bob"): {"plan": "free"}, (KEY, "carol"): {}}
    assert product.loads() == {KEY: ("completed", 2)}


@pytest.mark.slow
def test_export__empty_table__is_an_empty_snapshot(exported: Exported) -> None:
    exported.product.put(document("alice"))
    assert exported.run() == ""
    exported.product.remove("alice")

    assert exported.run() == ""
    again = exported.product.materialise("identity_snapshots")

    assert exported.product.snapshot() == {}
    assert exported.product.loads() == {KEY: ("completed", 0)}
    (materialization,) = again.asset_materializations_for_node("identity_snapshots")
    assert materialization.metadata["environments_unchanged"].value == 1


@pytest.mark.slow
def test_export__projects_configured__others_are_left_alone_and_can_follow(exported: Exported) -> None:
    product = exported.product
    product.add_project(11)
    product.add_environment(110, project=11, key="second")
    product.add_segment(2, [], project=11)
    product.put(document("alice"), document("bob", "second"))

    assert exported.run(projects=[11]) == ""
    narrowed = set(product.snapshot())
    assert exported.run("identity_snapshots") == ""

    assert narrowed == {("second", "bob")}
    assert set(product.snapshot()) == {(KEY, "alice"), ("second", "bob")}
    assert product.loads() == {KEY: ("completed", 1), "second": ("completed", 1)}
    assert {row[1] for row in _rows(product)} == {10, 11}


def test_export__repeated_identifier__first_by_composite_key_is_kept_and_the_other_reported(
    exported: Exported,
) -> None:
    product = exported.product
    product.put(
        document("alice", plan="second") | {"composite_key": "b"},
        document("alice", plan="first", nested={"x": 1}) | {"composite_key": "a"},
        document("bob", plan="pro") | {"composite_key": "c"},
        document("bob", plan=b"x") | {"composite_key": "d"},
        document("carol"),
    )

    assert exported.run() == ""

    assert product.snapshot() == {
        (KEY, "alice"): {"plan": "first", "nested": '{"x":1}'},
        (KEY, "bob"): {"plan": "pro"},
        (KEY, "carol"): {},
    }
    repeated = "another document of the environment has the same identifier"
    assert [(key, reason) for _, key, reason in exported.letters()] == [("b", repeated), ("d", repeated)]


def test_export__document_without_environment__goes_to_the_exports_own_dead_letters(exported: Exported) -> None:
    stray = {"composite_key": "stray", "identifier": "stray"}
    exported.product.put(document("alice"), stray)

    assert exported.run() == ""

    assert set(exported.product.snapshot()) == {(KEY, "alice")}
    assert exported.letters() == [(export_unit_of(today()), "stray", "environment_api_key is not a text")]


@pytest.mark.slow
def test_export__one_environment_has_too_many_dead_letters__it_keeps_its_slice_and_the_others_load(
    exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analytics_pipeline.flows.identities.export.staging.MAX_DEAD_LETTERS", 1)
    product = exported.product
    product.add_environment(101, key="other")
    product.put(document("alice"), document("olga", "other"), _broken("a", KEY))
    assert exported.run() == ""
    product.put(document("bob"), _broken("a", "other"), _broken("b", "other"))

    text = exported.run()

    assert "environment 101: more than 1 documents cannot be mapped" in text
    assert set(product.snapshot()) == {(KEY, "alice"), (KEY, "bob"), ("other", "olga")}
    assert product.loads() == {KEY: ("completed", 2), "other": ("failed", 1)}


def test_export__point_in_time_recovery_off__says_how_to_switch_it_on_and_keeps_the_capture(
    exported: Exported,
) -> None:
    exported.product.put(document("alice"))
    assert exported.run() == ""
    before = (exported.manifest, _rows(exported.product))
    _set_recovery(exported.product, enabled=False)

    text = exported.run()

    assert "point-in-time recovery off" in text
    assert f"aws dynamodb update-continuous-backups --table-name {exported.product.table}" in text
    assert (exported.manifest, _rows(exported.product)) == before


def test_export__file_replaced_after_the_capture__fails_and_keeps_the_slice(exported: Exported) -> None:
    exported.product.put(document("alice"))
    assert exported.run() == ""
    before = _rows(exported.product)
    exported.product.put(document("bob"))
    assert exported.run("raw_identities") == ""
    exported.rewrite(b"")

    text = exported.run("identity_snapshots")

    assert "is not the file that was captured" in text
    assert f"Repair: materialise identity_snapshots of {today()} again" in text
    assert _rows(exported.product) == before
    assert exported.product.loads() == {KEY: ("failed", 1)}


def test_export__clickhouse_cannot_read_the_bucket__error_shows_no_secret(
    exported: Exported, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    exported.product.put(document("alice"))
    assert exported.run("raw_identities") == ""
    monkeypatch.setattr(
        "analytics_pipeline.resources.landing.Bucket.url", lambda self, path: f"{self.endpoint}/no-such-bucket/{path}"
    )

    text = exported.run("identity_snapshots")

    assert "ClickHouse error 499" in text
    assert SECRET not in text + caplog.text + str(exported.product.execute("TABLE analytics_pipeline.identity_loads"))


def test_export__bucket_missing__failed_export_is_reported_with_its_reason(
    exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "POLL_SECONDS", 0.1)
    _empty_bucket(exported)
    boto3.client("s3").delete_bucket(Bucket=exported.bucket)

    assert "S3NoSuchBucket" in exported.run("raw_identities")


@pytest.mark.slow
def test_export__newer_capture_by_query__is_the_one_that_is_loaded(
    exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = exported.product
    product.put(document("alice"))
    assert exported.run() == ""
    product.put(document("bob"))
    monkeypatch.setenv("IDENTITY_READER", "query")

    assert exported.run() == ""

    assert set(product.snapshot()) == {(KEY, "alice"), (KEY, "bob")}
    assert product.landing.manifest(unit_of(today(), KEY)) is not None


def _broken(identifier: str, environment_key: str) -> dict[str, Any]:
    return document(identifier, environment_key) | {"identity_traits": "not a list"}


def _empty_bucket(exported: Exported) -> None:
    for key in exported.keys():  # noqa: SIM118 - not a dictionary
        boto3.client("s3").delete_object(Bucket=exported.bucket, Key=key)


@pytest.mark.slow
def test_export__very_many_environments__are_named_in_parts_that_servers_take(exported: Exported) -> None:
    """A form field of a real server holds 128 KiB, and a URL less."""
    product = exported.product
    doubled = document("twin", plan="free") | {"composite_key": "another"}
    product.put(document("alice", plan="pro"), document("list") | {"identity_traits": "not a list"})
    product.put(document("twin", plan="pro"), doubled)
    assert exported.run("raw_identities") == ""
    unit = export_unit_of(today())
    source = ExportSource(product.clickhouse, product.landing, unit, exported.manifest)
    projects = {f"an-environment-key-of-some-length-{number}": number for number in range(20_000)} | {KEY: 10}

    with product.clickhouse.staging("identities") as staging:
        source.insert_plain(staging, today(), projects)
        staged = product.clickhouse.query(
            f"SELECT DISTINCT project_id, environment_id, identifier FROM {staging} ORDER BY ALL"
        )
    others = [key for key, _ in source.others(list(projects))]
    repeated = [key for key, _ in source.repeated(list(projects))]

    assert (staged, others, repeated) == ([(10, KEY, "alice"), (10, KEY, "twin")], [KEY], [KEY, KEY])
