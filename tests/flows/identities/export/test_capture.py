"""The conversation with DynamoDB about an export, as AWS holds it: tokens, waiting, manifests, refusals."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from obstore.store import LocalStore

from analytics_pipeline.config import ConfigurationError, Settings
from analytics_pipeline.flows.erasure.forgotten import NOBODY
from analytics_pipeline.flows.identities.errors import ExportFailed
from analytics_pipeline.flows.identities.export.capture import POLL_SECONDS, ExportCapture
from analytics_pipeline.flows.identities.units import EXPORT_FORMAT, export_unit_of
from analytics_pipeline.resources.deadline import Deadline
from analytics_pipeline.resources.dynamodb import IdentitiesTable
from analytics_pipeline.resources.landing import LandingZone
from analytics_pipeline.resources.landing_units import CorruptUnit, Manifest
from analytics_pipeline.resources.object_stores import Bucket

ARN = "arn:aws:dynamodb:eu-west-1:123456789012:table/identities"
DAY = datetime(2026, 3, 1, tzinfo=timezone.utc).date()
UNIT = export_unit_of(DAY)
NOON = datetime(2026, 3, 1, 12, 0, 0, 123_456, tzinfo=timezone.utc)


@dataclass
class FakeDynamoDB:
    """What the capture uses of DynamoDB, with AWS's tokens and manifests; the bucket is a directory."""

    bucket: Path
    outcomes: list[str] = field(default_factory=list)
    items: Mapping[str, int] = field(default_factory=lambda: {"a": 2, "b": 0})
    error: str | None = None
    table_arn: str = ARN
    summary: dict[str, Any] = field(default_factory=dict)
    exports: dict[str, dict[str, Any]] = field(default_factory=dict)
    polls: int = 0

    def describe_table(self, TableName: str) -> dict[str, Any]:  # noqa: N803 - boto3's names
        return {"Table": {"TableArn": ARN}}

    def export_table_to_point_in_time(self, **request: Any) -> dict[str, Any]:
        if self.error:
            raise ClientError({"Error": {"Code": self.error, "Message": "no"}}, "ExportTableToPointInTime")
        begun = self.exports.setdefault(
            request["ClientToken"],
            {
                "ExportArn": f"{ARN}/export/{len(self.exports):05d}",
                "ExportStatus": "IN_PROGRESS",
                "TableArn": self.table_arn,
                "StartTime": datetime.now(timezone.utc) + timedelta(seconds=5),
                "ExportTime": NOON,
                "S3Prefix": request["S3Prefix"],
            },
        )
        return {"ExportDescription": dict(begun)}

    def describe_export(self, ExportArn: str) -> dict[str, Any]:  # noqa: N803
        self.polls += 1
        found = next(one for one in self.exports.values() if one["ExportArn"] == ExportArn)
        found["ExportStatus"] = self.outcomes.pop(0) if self.outcomes else "COMPLETED"
        if found["ExportStatus"] == "FAILED":
            found |= {"FailureCode": "S3AccessDenied", "FailureMessage": "denied"}
        if found["ExportStatus"] == "COMPLETED":
            self.write(found)
        return {"ExportDescription": dict(found)}

    def write(self, described: dict[str, Any]) -> None:
        home = f"AWSDynamoDB/{described['ExportArn'].rpartition('/')[2]}"
        prefix = described["S3Prefix"]
        directory = self.bucket / prefix / home
        (directory / "data").mkdir(parents=True)
        for name in self.items:
            (directory / "data" / f"{name}.json.gz").write_bytes(name.encode())
        listing = [
            {
                "itemCount": count,
                "md5Checksum": "x",
                "etag": "",
                "dataFileS3Key": f"{prefix}/{home}/data/{name}.json.gz",
            }
            for name, count in self.items.items()
        ]
        summary = {
            "version": "2020-06-30",
            "tableArn": ARN,
            "itemCount": sum(self.items.values()),
            "outputFormat": "DYNAMODB_JSON",
            **self.summary,
        }
        (directory / "manifest-files.json").write_text("\n".join(map(json.dumps, listing)) + "\n")
        (directory / "manifest-summary.json").write_text(json.dumps(summary))
        described["ExportManifest"] = f"{prefix}/{home}/manifest-summary.json"
        described["ItemCount"] = sum(self.items.values())


@pytest.fixture
def dynamodb(tmp_path: Path) -> FakeDynamoDB:
    return FakeDynamoDB(tmp_path)


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that would have been made."""
    made: list[float] = []
    monkeypatch.setattr("analytics_pipeline.flows.identities.export.capture.time.sleep", made.append)
    return made


def capture(dynamodb: FakeDynamoDB, deadline: Deadline | None = None) -> Manifest:
    session = boto3.Session("key", "secret", region_name="eu-west-1")
    bucket = Bucket("bucket", "some/prefix", "https://s3.eu-west-1.amazonaws.com", session)
    zone = LandingZone(LocalStore(dynamodb.bucket / "some/prefix", mkdir=True), bucket)
    table = IdentitiesTable(dynamodb, "identities", "index")  # type: ignore[arg-type]
    ExportCapture(table, zone, lambda: NOBODY, "run", deadline=deadline).capture(DAY, [])
    manifest = zone.manifest(UNIT)
    assert manifest is not None
    return manifest


def held(dynamodb: FakeDynamoDB) -> set[str]:
    root = dynamodb.bucket / "some/prefix" / UNIT
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_capture__completed__manifest_names_the_files_their_items_and_the_exports_moment(
    dynamodb: FakeDynamoDB,
) -> None:
    dynamodb.outcomes = ["IN_PROGRESS", "COMPLETED"]

    manifest = capture(dynamodb)

    (token,) = dynamodb.exports
    assert manifest.format == EXPORT_FORMAT
    assert manifest.captured_at == NOON.replace(microsecond=123_000)
    assert [(file.name, file.rows, file.bytes) for file in manifest.files] == [
        (f"{token}/AWSDynamoDB/00000/data/a.json.gz", 2, 1),
        (f"{token}/AWSDynamoDB/00000/data/b.json.gz", 0, 1),
    ]
    assert manifest.about == {"export": f"{ARN}/export/00000", "items": 2, "run_id": "run"}
    assert held(dynamodb) == {"manifest.json", *(file.name for file in manifest.files)}


def test_capture__table_is_empty_and_has_no_file__is_an_empty_capture(dynamodb: FakeDynamoDB) -> None:
    dynamodb.items = {}

    manifest = capture(dynamodb)

    assert (manifest.files, manifest.about["items"]) == ((), 0)


def test_capture__long_export__pauses_grow_to_a_limit(dynamodb: FakeDynamoDB, pauses: list[float]) -> None:
    dynamodb.outcomes = ["IN_PROGRESS"] * 10

    capture(dynamodb)

    assert pauses == sorted(pauses)
    assert pauses[-1] == POLL_SECONDS


def test_capture__killed_while_waiting__next_run_adopts_the_same_export(
    dynamodb: FakeDynamoDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as killed:
        killed.setattr("analytics_pipeline.flows.identities.export.capture.time.sleep", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            capture(dynamodb)
    assert held(dynamodb) == set()

    capture(dynamodb)

    assert len(dynamodb.exports) == 1


def test_capture__again_after_a_commit__is_a_new_export_with_a_later_version(dynamodb: FakeDynamoDB) -> None:
    first, second = capture(dynamodb), capture(dynamodb)

    assert len(dynamodb.exports) == 2
    assert second.captured_at == first.captured_at + timedelta(milliseconds=1)
    assert held(dynamodb) == {"manifest.json", *(file.name for file in second.files)}


def test_capture__export_fails__says_why_and_the_next_run_starts_another(dynamodb: FakeDynamoDB) -> None:
    before = capture(dynamodb)
    dynamodb.outcomes = ["FAILED"]
    with pytest.raises(ExportFailed, match=r"ended as FAILED: S3AccessDenied denied. Nothing was changed"):
        capture(dynamodb)
    for failed in dynamodb.exports.values():
        failed["StartTime"] -= timedelta(minutes=1)
    kept = held(dynamodb)

    after = capture(dynamodb)

    assert {file.name for file in before.files} <= kept
    assert (len(dynamodb.exports), after.captured_at > before.captured_at) == (3, True)


def test_capture__export_does_not_end__gives_up_and_says_how_to_go_on(dynamodb: FakeDynamoDB) -> None:
    dynamodb.outcomes = ["IN_PROGRESS"] * 100

    with pytest.raises(ExportFailed, match=r"still runs after .* DynamoDB goes on with it"):
        capture(dynamodb, Deadline.after(0, "over"))


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("PointInTimeRecoveryUnavailableException", "PointInTimeRecoveryEnabled=true; or set IDENTITY_READER=query"),
        ("AccessDeniedException", "Allow dynamodb:DescribeTable, dynamodb:ExportTableToPointInTime"),
        ("TableNotFoundException", "Check IDENTITIES_TABLE"),
    ],
)
def test_capture__refused__says_what_to_do(dynamodb: FakeDynamoDB, code: str, told: str) -> None:
    dynamodb.error = code

    with pytest.raises(ExportFailed, match=f"Nothing was changed.*{told}"):
        capture(dynamodb)


def test_capture__other_error__is_passed_on(dynamodb: FakeDynamoDB) -> None:
    dynamodb.error = "LimitExceededException"

    with pytest.raises(ClientError):
        capture(dynamodb)


def test_capture__answer_is_about_another_table__is_refused(dynamodb: FakeDynamoDB) -> None:
    dynamodb.table_arn = f"{ARN}2"

    with pytest.raises(ExportFailed, match="DynamoDB answers with an export of"):
        capture(dynamodb)


@pytest.mark.parametrize(
    ("summary", "reason"),
    [
        ({"tableArn": f"{ARN}2"}, "is of the table"),
        ({"outputFormat": "ION"}, "has the format ION"),
        ({"itemCount": 3}, "do not add up to its 3 items"),
    ],
)
def test_capture__summary_contradicts__is_refused_and_nothing_is_committed(
    dynamodb: FakeDynamoDB, summary: dict[str, Any], reason: str
) -> None:
    dynamodb.summary = summary

    with pytest.raises(CorruptUnit, match=reason):
        capture(dynamodb)

    assert "manifest.json" not in held(dynamodb)


def test_capture__named_file_missing__is_refused(dynamodb: FakeDynamoDB, monkeypatch: pytest.MonkeyPatch) -> None:
    write = dynamodb.write

    def lossy(described: dict[str, Any]) -> None:
        write(described)
        next(dynamodb.bucket.rglob("b.json.gz")).unlink()

    monkeypatch.setattr(dynamodb, "write", lossy)

    with pytest.raises(CorruptUnit, match=r"b\.json\.gz is missing, the export's manifest names it"):
        capture(dynamodb)


def test_capture__landing_zone_is_a_directory__is_refused(dynamodb: FakeDynamoDB) -> None:
    table = IdentitiesTable(dynamodb, "identities", "index")  # type: ignore[arg-type]

    with pytest.raises(ExportFailed, match="needs LANDING_URL=s3://"):
        ExportCapture(table, LandingZone(LocalStore(dynamodb.bucket)), lambda: NOBODY, "run").capture(DAY, [])


@pytest.mark.parametrize("landing", [None, "file:///var/landing"])
def test_settings__export_without_a_bucket__is_a_problem(monkeypatch: pytest.MonkeyPatch, landing: str | None) -> None:
    monkeypatch.setenv("IDENTITY_READER", "export")
    monkeypatch.delenv("LANDING_URL", raising=False)
    if landing:
        monkeypatch.setenv("LANDING_URL", landing)

    with pytest.raises(ConfigurationError, match="IDENTITY_READER: export needs a LANDING_URL of the form s3://"):
        Settings.load()


def _interrupt(_: float) -> None:
    raise KeyboardInterrupt
