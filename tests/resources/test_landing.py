"""The landing zone on a disk and in S3: a unit is its committed manifest, and nothing else counts."""

import hashlib
import os
import stat
import time
import uuid
from collections.abc import Mapping
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import boto3
import msgspec
import obstore
import pytest
import zstandard

from analytics_pipeline.config import AccessRefused, NotConfigured, Settings
from analytics_pipeline.flows.identities.units import unit_of
from analytics_pipeline.resources import landing as module
from analytics_pipeline.resources.landing import LandingZone, landing_zone
from analytics_pipeline.resources.landing_units import MANIFEST, CorruptUnit, LandedFile, Manifest

UNIT = "identities/day=2026-01-01/environment=key"
FIRST = datetime(2026, 1, 1, 12, 0, 0, 123_000, tzinfo=timezone.utc)
SECOND = FIRST + timedelta(milliseconds=1)


@pytest.fixture(params=["file", "s3"])
def zone(
    request: pytest.FixtureRequest, environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> LandingZone:
    """An empty landing zone on a disk or in S3, found as production finds it."""
    if request.param == "file":
        monkeypatch.setenv("LANDING_URL", (tmp_path / "landing").as_uri())
    else:
        monkeypatch.setenv("LANDING_URL", f"s3://{_bucket()}/deep/prefix")
    return landing_zone(Settings.load())


def _bucket() -> str:
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    boto3.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return name


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> LandingZone:
    """An empty landing zone on a disk."""
    monkeypatch.setenv("LANDING_URL", (tmp_path / "landing").as_uri())
    return landing_zone(Settings.load())


def _capture(zone: LandingZone, *pages: list[str], at: datetime = FIRST, unit: str = UNIT) -> Manifest:
    with zone.writer(unit, fmt="lines/1", captured_at=at) as writer:
        for page in pages:
            writer.write(_lines(page), len(page))
        return writer.commit({"pages": len(pages)})


def _lines(rows: list[str]) -> bytes:
    return "".join(f"{row}\n" for row in rows).encode()


def _held(zone: LandingZone, unit: str = UNIT) -> list[str]:
    manifest = zone.manifest(unit)
    assert manifest is not None
    stored = b"".join(_decompressed(b"".join(zone.read(unit, file))) for file in manifest.files)
    return stored.decode().splitlines()


def _decompressed(stored: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(stored)


def _objects(zone: LandingZone) -> list[str]:
    return sorted(entry["path"] for batch in obstore.list(zone.store) for entry in batch)


def test_commit__rows__are_read_back_with_their_manifest(zone: LandingZone) -> None:
    manifest = _capture(zone, ["a", "b"], ["é"])

    (file,) = manifest.files
    stored = b"".join(zone.read(UNIT, file))
    digest = hashlib.sha256(stored).hexdigest()
    assert file == LandedFile("20260101T120000123000Z-00000.jsonl.zst", 3, len(stored), digest)
    assert manifest == Manifest("lines/1", FIRST, (file,), {"pages": 2})
    assert (manifest.rows, manifest.bytes) == (3, len(stored))
    assert zone.manifest(UNIT) == manifest
    assert _held(zone) == ["a", "b", "é"]
    assert _objects(zone) == [f"{UNIT}/{file.name}", f"{UNIT}/{MANIFEST}"]


def test_manifest__never_committed__is_none(zone: LandingZone) -> None:
    assert zone.manifest(UNIT) is None


def test_commit__no_rows__is_an_empty_unit(zone: LandingZone) -> None:
    manifest = _capture(zone)

    assert zone.manifest(UNIT) == manifest == Manifest("lines/1", FIRST, (), {"pages": 0})
    assert (manifest.rows, manifest.bytes, _held(zone)) == (0, 0, [])


def test_commit__empty_pages__are_no_rows(zone: LandingZone) -> None:
    manifest = _capture(zone, [], ["a"], [])

    assert ([file.rows for file in manifest.files], _held(zone)) == ([1], ["a"])


def test_writer__not_committed_yet__readers_see_the_unit_as_it_was(zone: LandingZone) -> None:
    with zone.writer(UNIT, fmt="lines/1", captured_at=FIRST) as writer:
        writer.write(_lines(["a"]), 1)
        writer.close()
        assert zone.manifest(UNIT) is None
        committed = writer.commit({})

    with zone.writer(UNIT, fmt="lines/1", captured_at=SECOND) as writer:
        writer.write(_lines(["b"]), 1)
        writer.close()
        assert (zone.manifest(UNIT), _held(zone)) == (committed, ["a"])


class _Broken(Exception):
    """A capture that fails."""


def test_writer__capture_raises__unit_stays_as_it_was(zone: LandingZone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS_PER_FILE", 1)
    committed = _capture(zone, ["a"], ["b"])

    def capture() -> None:
        with zone.writer(UNIT, fmt="lines/1", captured_at=SECOND) as writer:
            writer.write(_lines(["c"]), 1)
            writer.write(_lines(["d"]), 1)
            raise _Broken

    with pytest.raises(_Broken):
        capture()

    assert (zone.manifest(UNIT), _held(zone)) == (committed, ["a", "b"])


def test_commit__second_capture__replaces_the_first_and_sweeps_what_no_manifest_names(zone: LandingZone) -> None:
    _capture(zone, ["a"])
    _capture(zone, ["neighbour"], unit=f"{UNIT}2")
    with zone.writer(UNIT, fmt="lines/1", captured_at=FIRST + timedelta(microseconds=1)) as abandoned:
        abandoned.write(_lines(["never committed"]), 1)

    manifest = _capture(zone, ["b", "c"], at=SECOND)

    assert _held(zone) == ["b", "c"]
    assert _held(zone, f"{UNIT}2") == ["neighbour"]
    assert [path for path in _objects(zone) if path.startswith(f"{UNIT}/")] == [
        f"{UNIT}/{manifest.files[0].name}",
        f"{UNIT}/{MANIFEST}",
    ]


def test_write__more_rows_than_a_file_takes__goes_on_in_the_next(
    zone: LandingZone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROWS_PER_FILE", 3)

    manifest = _capture(zone, ["a", "b"], ["c", "d"], ["e"], ["f", "g"], ["h"])

    assert [(file.name[-15:], file.rows) for file in manifest.files] == [
        ("00000.jsonl.zst", 4),
        ("00001.jsonl.zst", 3),
        ("00002.jsonl.zst", 1),
    ]
    assert _held(zone) == list("abcdefgh")


def test_read__bytes_changed__is_corrupt_and_says_what_to_do(zone: LandingZone) -> None:
    (file,) = _capture(zone, ["a"]).files
    path = f"{UNIT}/{file.name}"
    content = bytearray(bytes(obstore.get(zone.store, path).bytes()))
    content[-1] ^= 0xFF
    obstore.put(zone.store, path, bytes(content))

    with pytest.raises(CorruptUnit) as error:
        list(zone.read(UNIT, file))
    assert str(error.value) == f"{path} differs from its manifest's checksum. Restore or recapture it."


def test_read__file_gone__is_corrupt_and_says_what_to_do(zone: LandingZone) -> None:
    (file,) = _capture(zone, ["a"]).files
    path = f"{UNIT}/{file.name}"
    obstore.delete(zone.store, path)

    with pytest.raises(CorruptUnit) as error:
        list(zone.read(UNIT, file))
    assert str(error.value) == f"{path} is missing, its manifest names it. Restore or recapture it."


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 1}', b"\xff"])
def test_manifest__cannot_be_read__is_corrupt_and_says_what_to_do(local: LandingZone, content: bytes) -> None:
    obstore.put(local.store, f"{UNIT}/{MANIFEST}", content)

    with pytest.raises(
        CorruptUnit, match=rf"{UNIT}/{MANIFEST} cannot be read: (?s:.+)\. Capture the unit again\."
    ) as error:
        local.manifest(UNIT)
    assert isinstance(error.value.__cause__, msgspec.DecodeError)


def test_manifest__of_a_later_version_with_more_fields__is_read(local: LandingZone) -> None:
    content = b'{"format":"lines/2","captured_at":"2026-01-01T12:00:00.123Z","files":[],"about":{"x":1},"new":[1]}'
    obstore.put(local.store, f"{UNIT}/{MANIFEST}", content)

    assert local.manifest(UNIT) == Manifest("lines/2", FIRST, (), {"x": 1})


HOSTILE_KEYS = ["", ".", "..", "../../../escaped", "/etc/passwd", "a/b", "a\\b", "%2e%2e", "%2F", "key%", "naïve Ω",
                "sp ace", "*?[a]", "a\nb", "C:\\x", "~", "$HOME", "manifest.json", "a=b", "#", "\u202e"]  # fmt: skip


@pytest.mark.parametrize("key", HOSTILE_KEYS)
def test_unit_of__hostile_environment_key__is_one_directory_under_the_day(
    local: LandingZone, tmp_path: Path, key: str
) -> None:
    unit = unit_of(date(2026, 1, 1), key)
    _capture(local, ["a"], unit=unit)
    committed = _capture(local, ["b"], unit=unit, at=SECOND)

    assert local.manifest(unit) == committed
    assert _held(local, unit) == ["b"]
    day = tmp_path / "landing" / "identities" / "day=2026-01-01"
    (directory,) = day.iterdir()
    assert sorted(path.name for path in directory.iterdir()) == sorted([committed.files[0].name, MANIFEST])
    assert [path.name for path in tmp_path.iterdir()] == ["landing"]


def test_unit_of__different_keys__are_different_units(zone: LandingZone) -> None:
    units = {key: unit_of(date(2026, 1, 1), key) for key in HOSTILE_KEYS}
    for key, unit in units.items():
        _capture(zone, [repr(key)], unit=unit)

    assert {key: _held(zone, unit) for key, unit in units.items()} == {key: [repr(key)] for key in HOSTILE_KEYS}


def test_check__store_works__leaves_nothing_behind(zone: LandingZone) -> None:
    assert zone.check() == "can be written"
    assert _objects(zone) == []


def test_landing_zone__url_with_encoded_characters__is_the_directory_that_it_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    directory = tmp_path / "with space & ümlaut#%"
    monkeypatch.setenv("LANDING_URL", directory.as_uri())

    _capture(landing_zone(Settings.load()), ["a"])

    assert [path.name for path in directory.iterdir()] == ["identities"]


@pytest.mark.parametrize(("path", "prefix"), [("", ""), ("/", ""), ("/deep/prefix/", "deep/prefix/")])
def test_landing_zone__bucket_with_or_without_prefix__is_where_the_objects_are(
    environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, path: str, prefix: str
) -> None:
    bucket = _bucket()
    monkeypatch.setenv("LANDING_URL", f"s3://{bucket}{path}")

    (file,) = _capture(landing_zone(Settings.load()), ["a"]).files

    held = boto3.client("s3").list_objects_v2(Bucket=bucket)["Contents"]
    assert [item["Key"] for item in held] == [f"{prefix}{UNIT}/{file.name}", f"{prefix}{UNIT}/{MANIFEST}"]


@pytest.mark.parametrize(("below", "told"), [("", "a file is in its place"), ("/zone", "Not a directory")])
def test_landing_zone__file_is_in_its_place__is_said_with_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str, told: str
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("LANDING_URL", f"{(tmp_path / 'file').as_uri()}{below}")

    with pytest.raises(AccessRefused) as refusal:
        landing_zone(Settings.load())

    assert str(refusal.value) == (
        f"The landing zone at {tmp_path}/file{below} cannot be used: {told}."
        " Check LANDING_URL, then run: analytics-pipeline doctor"
    )


def test_landing_zone__not_configured__says_which_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LANDING_URL", raising=False)
    monkeypatch.delenv("IDENTITIES_TABLE", raising=False)

    with pytest.raises(NotConfigured, match="LANDING_URL is not set"):
        landing_zone(Settings.load())


def test_check__bucket_does_not_exist__says_so(environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDING_URL", "s3://no-such-bucket/prefix")

    with pytest.raises(OSError, match="The specified bucket does not exist") as error:
        landing_zone(Settings.load()).check()
    assert "\n" not in str(error.value)
    assert "Debug" not in str(error.value)


def test_check__s3_does_not_answer__says_so_in_bounded_time(
    environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    monkeypatch.setenv("LANDING_URL", "s3://bucket/prefix")
    began = time.monotonic()

    with pytest.raises(OSError, match=r"127\.0\.0\.1:1/bucket") as error:
        landing_zone(Settings.load()).check()

    assert time.monotonic() - began < 30
    assert "\n" not in str(error.value)
    assert environment["AWS_SECRET_ACCESS_KEY"] not in str(error.value)


def test_writer__fails_and_cannot_be_ended_either__the_first_error_is_seen(
    zone: LandingZone, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: object) -> None:
        raise OSError("the disk is full, too")

    before = _capture(zone, ["a"])
    monkeypatch.setattr("analytics_pipeline.resources.landing_units.LineFile.finish", broken)

    with pytest.raises(ValueError, match="the first error"):
        _capture_half(zone)

    assert (zone.manifest(UNIT), _held(zone)) == (before, ["a"])


def _capture_half(zone: LandingZone) -> None:
    with zone.writer(UNIT, fmt="lines/1", captured_at=SECOND) as writer:
        writer.write(_lines(["b"]), 1)
        raise ValueError("the first error")


def test_commit__on_a_local_disk__is_for_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDING_URL", (tmp_path / "new" / "landing").as_uri())
    former = os.umask(0o022)
    try:
        with landing_zone(Settings.load()).writer("identities/day/unit", fmt="x", captured_at=FIRST) as writer:
            writer.write(b"row\n", 1)
            under_way = _modes(tmp_path / "new" / "landing")
            writer.commit({})
    finally:
        os.umask(former)

    # A file that is being written cannot be reached, whatever its own mode is.
    assert {mode for path, mode in under_way.items() if path.is_dir()} == {0o700}
    assert {path.name: mode for path, mode in _modes(tmp_path / "new" / "landing").items() if path.is_file()} == {
        "manifest.json": 0o600,
        f"{FIRST:%Y%m%dT%H%M%S%fZ}-00000.jsonl.zst": 0o600,
    }


def _modes(root: Path) -> dict[Path, int]:
    return {path: stat.S_IMODE(path.stat().st_mode) for path in (root, *root.rglob("*"))}
