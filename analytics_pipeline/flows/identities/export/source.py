"""The documents of a DynamoDB export, as ClickHouse reads them from the landing zone's bucket."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analytics_pipeline.flows.identities.documents import MAX_IDENTIFIER_LENGTH, TRAITS_FORMAT
from analytics_pipeline.flows.identities.staging import JSON_SETTINGS
from analytics_pipeline.resources.clickhouse.client import TEXT_STAYS_TEXT, ClickHouse
from analytics_pipeline.resources.clickhouse.limits import listed
from analytics_pipeline.resources.clickhouse.names import quoted
from analytics_pipeline.resources.clickhouse.streams import rows_of
from analytics_pipeline.resources.landing import LandingZone
from analytics_pipeline.resources.landing_units import CorruptUnit, LandedFile, Manifest
from analytics_pipeline.resources.object_stores import Bucket
from analytics_pipeline.resources.sql_files import sql_file

ROWS_PER_STATEMENT = 1_000_000
_FILES = (
    "s3({url:String}, {access_key:String}, {secret_key:String}, {session_token:String},"
    " 'JSONEachRow', 'Item String', 'gzip')"
)
_SETTINGS = ", ".join(f"{name} = {value}" for name, value in {**TEXT_STAYS_TEXT, **JSON_SETTINGS}.items())
# Above this the group-by that finds repeated identifiers goes on disk.
_SPILL_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True)
class ExportSource:
    """One committed export. Credentials travel as bound parameters, so that no statement's text shows them."""

    clickhouse: ClickHouse
    landing: LandingZone
    unit: str
    manifest: Manifest

    def check(self) -> None:
        """Check that the store still holds the files that were committed.

        Raises:
            CorruptUnit: one is gone or is another.
        """
        stored = {file.name: file for file in self.landing.stored(self.unit)}
        for file in self.manifest.files:
            found = stored.get(file.name)
            if found is None or (found.bytes, found.etag) != (file.bytes, file.etag):
                state = "is missing" if found is None else "is not the file that was captured"
                raise CorruptUnit(f"{self.unit}/{file.name} {state}. Restore it, or capture again.")

    def counts(self) -> dict[str | None, int]:
        """Documents by environment key; None counts those that name no environment or are no documents at all."""
        counts: dict[str | None, int] = {}
        for group in self._groups():
            rows = self.clickhouse.query(
                # Only the environment of each document costs far less than the whole of it.
                "SELECT JSONExtract(Item, 'environment_api_key', 'S', 'Nullable(String)') AS environment, count()"
                f" FROM {_FILES} GROUP BY environment",
                **self._parameters(group),
            )
            for environment, count in rows:
                counts[environment] = counts.get(environment, 0) + count
        return counts

    def insert_plain(self, staging: str, day: object, projects: Mapping[str, int]) -> None:
        """Flatten the documents that SQL maps exactly; `projects` holds the wanted environments and their projects."""
        for group in self._groups():
            keys, keys_parameters = listed("environments", "String", list(projects))
            ids, ids_parameters = listed("projects", "UInt64", list(projects.values()))
            self.clickhouse.execute(
                f"INSERT INTO {quoted(staging)} (snapshot_date, project_id, environment_id, identifier, identity_key,"
                " traits, traits_format, inserted_at)"
                f" SELECT {{day:Date}}, transform(assumeNotNull(environment), {keys}, {ids}, toUInt64(0)),"
                " assumeNotNull(environment), assumeNotNull(identifier),"
                " identity_key, traits_json, {traits_format:UInt8}, {captured_at:DateTime64(3, 'UTC')}"
                f" FROM ({_documents()}) WHERE environment IN {keys} AND is_plain"
                f" SETTINGS {_SETTINGS}",
                day=day,
                **keys_parameters,
                **ids_parameters,
                traits_format=TRAITS_FORMAT,
                captured_at=self.manifest.captured_at,
                **self._parameters(group),
            )

    def others(self, environments: Sequence[str]) -> Iterator[tuple[str | None, str]]:
        """Environment and text of the documents that SQL does not map, and of all that name no environment."""
        keys, parameters = listed("environments", "String", environments)
        for group in self._groups():
            yield from rows_of(
                self.clickhouse,
                f"SELECT environment, payload FROM ({_documents()})"
                f" WHERE environment IS NULL OR (environment IN {keys} AND NOT is_plain)",
                **parameters,
                **self._parameters(group),
            )

    def repeated(self, environments: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Environment and text of the documents that share their identifier with another one, those of one together."""
        keys, parameters = listed("environments", "String", environments)
        wanted = f"FROM ({_documents()}) WHERE environment IN {keys}"
        return rows_of(
            self.clickhouse,
            f"SELECT environment, payload {wanted} AND (environment, identifier) IN ("
            f"SELECT environment, identifier {wanted} GROUP BY environment, identifier HAVING count() > 1"
            ") ORDER BY environment, identifier, composite_key"
            f" SETTINGS max_bytes_before_external_group_by = {_SPILL_BYTES}",
            **parameters,
            **self._parameters(self.manifest.files),
        )

    def _groups(self) -> Iterator[list[LandedFile]]:
        """Files for one statement each; a file of unknown size, or of more rows than a statement takes, is alone."""
        group: list[LandedFile] = []
        for file in self.manifest.files:
            rows = sum(_rows(one) for one in [*group, file])
            if group and rows > ROWS_PER_STATEMENT:
                yield group
                group = []
            group.append(file)
        if group:
            yield group

    def _parameters(self, group: Sequence[LandedFile]) -> dict[str, Any]:
        bucket = self._bucket()
        credentials = bucket.session.get_credentials()
        frozen = credentials.get_frozen_credentials() if credentials else None
        return {
            "url": bucket.url(f"{self.unit}/{_pattern([file.name for file in group])}"),
            "access_key": (frozen and frozen.access_key) or "",
            "secret_key": (frozen and frozen.secret_key) or "",
            "session_token": (frozen and frozen.token) or "",
            "longest_identifier": MAX_IDENTIFIER_LENGTH,
        }

    def _bucket(self) -> Bucket:
        if self.landing.bucket is None:
            raise CorruptUnit(f"{self.unit} is an export, which ClickHouse reads from S3: LANDING_URL must be s3://…")
        return self.landing.bucket


def _documents() -> str:
    return sql_file(__package__, "documents.sql", FILES=_FILES)


def _rows(file: LandedFile) -> int:
    return ROWS_PER_STATEMENT if file.rows is None else file.rows


def _pattern(names: Sequence[str]) -> str:
    """The names as one pattern of ClickHouse; all files of an export lie in one directory."""
    if len(names) == 1:
        return names[0]
    return f"{names[0].rpartition('/')[0]}/{{{','.join(name.rpartition('/')[2] for name in names)}}}"
