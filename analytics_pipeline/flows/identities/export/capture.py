"""DynamoDB → landing zone by DynamoDB's own export: the whole table as of one moment, written by AWS to the bucket.

No read capacity is used and no document passes through this process. The export's files stay as AWS wrote them; one
manifest for the day names them, and `identity_snapshots` has ClickHouse read them.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timezone
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from analytics_pipeline.flows.erasure.forgotten import Forgotten
from analytics_pipeline.flows.erasure.landing import Named, leave_out
from analytics_pipeline.flows.failures import Failure
from analytics_pipeline.flows.identities.capture import Capture
from analytics_pipeline.flows.identities.errors import ExportFailed
from analytics_pipeline.flows.identities.export.files import export_files
from analytics_pipeline.flows.identities.units import EXPORT_FORMAT, export_unit_of
from analytics_pipeline.flows.tenants import Environment
from analytics_pipeline.resources.clickhouse.versions import later_than
from analytics_pipeline.resources.deadline import Deadline
from analytics_pipeline.resources.dynamodb import IdentitiesTable
from analytics_pipeline.resources.landing import LandingZone
from analytics_pipeline.resources.landing_units import Manifest
from analytics_pipeline.resources.object_stores import Bucket

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import ExportDescriptionTypeDef

logger = logging.getLogger(__name__)

POLL_SECONDS = 15.0
_FIRST_POLL_SECONDS = 0.2
# A token keeps answering with its failed export for eight hours; each failure needs another token.
_MAX_TOKENS = 20
_NOTHING_CHANGED = "Nothing was changed."


@dataclass(frozen=True)
class ExportCapture:
    """Captures all environments at once, as one atomic unit of the landing zone.

    With `resumes`, what an earlier attempt of this run has captured is kept. The `deadline` ends the waiting. Nobody is
    kept of whom `who` says that they were forgotten.
    """

    table: IdentitiesTable
    landing: LandingZone
    who: Callable[[], Forgotten]
    run_id: str
    resumes: bool = False
    deadline: Deadline | None = None

    def capture(self, day: date, environments: Sequence[Environment]) -> tuple[list[Capture], list[Failure]]:
        """Export the table, or adopt the export that an earlier run of the day began and did not live to commit.

        Raises:
            ExportFailed: the day's earlier export, if any, stays.
        """
        if self.landing.bucket is None:
            raise ExportFailed(f"An export needs LANDING_URL=s3://…, DynamoDB writes only there. {_NOTHING_CHANGED}")
        unit = export_unit_of(day)
        before = self.landing.readable_manifest(unit)
        if self.resumes and before and before.about.get("run_id") == self.run_id:
            return [Capture(tuple(environments), before, before.about["items"], None)], []
        directory, export = self._begun(self.landing.bucket, unit, before)
        finished = self._finished(export)
        manifest = self._manifest(finished, unit, directory, before)
        self.landing.adopt(unit, manifest)
        manifest = self._without_forgotten(unit, manifest)
        return [Capture(tuple(environments), manifest, manifest.about["items"], None)], []

    def _without_forgotten(self, unit: str, manifest: Manifest) -> Manifest:
        """The export as it may be kept: AWS writes whole tables, also of whom the product still has."""
        who = self.who()
        if not who.any_of("identity", "environment"):
            return manifest
        leave_out(self.landing, unit, Named(who.has_identity))
        return self.landing.manifest(unit) or manifest

    def _begun(self, bucket: Bucket, unit: str, before: Manifest | None) -> tuple[str, "ExportDescriptionTypeDef"]:
        """An export that runs or is completed, and the directory of the unit it writes to.

        The token is the same until an export is committed, so a run after a killed one gets the same export again.
        """
        try:
            arn = self.table.ask(self.table.client.describe_table, TableName=self.table.name)["Table"]["TableArn"]
            for attempt in range(_MAX_TOKENS):
                token = _token(arn, bucket.url(unit), before, attempt)
                asked = datetime.now(timezone.utc)
                export = self.table.ask(
                    self.table.client.export_table_to_point_in_time,
                    TableArn=arn,
                    ClientToken=token,
                    S3Bucket=bucket.name,
                    S3Prefix=bucket.key(f"{unit}/{token}"),
                    ExportFormat="DYNAMODB_JSON",
                )["ExportDescription"]
                if export.get("TableArn", arn) != arn:
                    raise ExportFailed(f"DynamoDB answers with an export of {export['TableArn']}, not of {arn}.")
                # One that had failed before it was asked for is an earlier run's; the next token starts another.
                if export.get("ExportStatus") != "FAILED" or (export.get("StartTime") or asked) >= asked:
                    logger.info("export %s is %s", export.get("ExportArn"), export.get("ExportStatus"))
                    return token, {"ExportTime": asked, **export}
        except ClientError as error:
            raise _explained(error, self.table.name, bucket) from error
        raise ExportFailed(f"{_MAX_TOKENS} exports of {self.table.name} have failed today. {_NOTHING_CHANGED}")

    def _finished(self, export: "ExportDescriptionTypeDef") -> "ExportDescriptionTypeDef":
        """Wait until the export is completed, with growing pauses and a log line for each."""
        begun, pause = time.monotonic(), _FIRST_POLL_SECONDS
        while (status := export.get("ExportStatus")) == "IN_PROGRESS":
            waited = time.monotonic() - begun
            if self.deadline and self.deadline.remaining <= 0:
                raise ExportFailed(
                    f"The export {export.get('ExportArn')} still runs after {waited / 3600:.1f} hours."
                    f" {_NOTHING_CHANGED} DynamoDB goes on with it:"
                    " materialise raw_identities again while the day is open to take it."
                )
            time.sleep(pause)
            pause = min(pause * 2, POLL_SECONDS)
            export = {**export, **self._described(export["ExportArn"])}
            logger.info("export %s: %s after %.0f s", export["ExportArn"], export.get("ExportStatus"), waited)
        if status != "COMPLETED":
            raise ExportFailed(
                f"The export {export.get('ExportArn')} ended as {status}: {export.get('FailureCode')}"
                f" {export.get('FailureMessage')}. {_NOTHING_CHANGED}"
                " Materialise raw_identities again to start another."
            )
        return export

    def _described(self, arn: str) -> "ExportDescriptionTypeDef":
        described = self.table.ask(self.table.client.describe_export, ExportArn=arn)["ExportDescription"]
        # A stand-in for AWS answers null for what it does not know.
        return {name: value for name, value in described.items() if value is not None}  # type: ignore[return-value]

    def _manifest(
        self, export: "ExportDescriptionTypeDef", unit: str, directory: str, before: Manifest | None
    ) -> Manifest:
        found = export_files(self.landing, unit, directory, export.get("ExportManifest"), export["TableArn"])
        items = export.get("ItemCount") if found.items is None else found.items
        earlier = [before.captured_at] if before else []
        exported_at = later_than(*earlier, moment=export["ExportTime"])
        about = {"export": export["ExportArn"], "items": items, "run_id": self.run_id}
        return Manifest(EXPORT_FORMAT, exported_at, found.files, about)


def _token(arn: str, url: str, before: Manifest | None, attempt: int) -> str:
    asked_for = f"{arn} {url} {before.captured_at if before else None} {attempt}"
    return hashlib.sha256(asked_for.encode()).hexdigest()[:32]


def _explained(error: ClientError, table: str, bucket: Bucket) -> Exception:
    code = error.response["Error"]["Code"]
    if code == "PointInTimeRecoveryUnavailableException":
        return ExportFailed(
            f"The table {table} has point-in-time recovery off, and an export needs it. {_NOTHING_CHANGED}"
            f" Switch it on: aws dynamodb update-continuous-backups --table-name {table}"
            " --point-in-time-recovery-specification PointInTimeRecoveryEnabled=true; or set IDENTITY_READER=query."
        )
    if code == "AccessDeniedException":
        return ExportFailed(
            f"AWS does not permit the export of {table}. {_NOTHING_CHANGED} Allow dynamodb:DescribeTable,"
            " dynamodb:ExportTableToPointInTime and dynamodb:DescribeExport on the table, and s3:PutObject and"
            f" s3:AbortMultipartUpload on the bucket {bucket.name}; or set IDENTITY_READER=query."
        )
    if code in ("ResourceNotFoundException", "TableNotFoundException"):
        return ExportFailed(f"The table {table} does not exist. {_NOTHING_CHANGED} Check IDENTITIES_TABLE.")
    return error
