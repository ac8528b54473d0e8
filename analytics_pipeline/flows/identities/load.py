"""Landing zone → ClickHouse: each environment's slice of the day becomes what its capture holds."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from functools import partial
from itertools import groupby

from analytics_pipeline.flows.failures import Failure, reason_of
from analytics_pipeline.flows.identities.capture import FORMAT, unit_of
from analytics_pipeline.flows.identities.ledger import IdentityLedger
from analytics_pipeline.flows.tenants import Environment
from analytics_pipeline.resources.clickhouse import ClickHouse, quoted
from analytics_pipeline.resources.landing import LandingZone, Manifest
from analytics_pipeline.resources.slices import Slice, replace_slice

logger = logging.getLogger(__name__)

COLUMNS = ("snapshot_date", "project_id", "environment_id", "identifier", "identity_key", "traits", "inserted_at")
# A trait key "a.b" beside a trait "a" with a key "b" is one path to ClickHouse and would refuse the whole file.
_JSON_SETTINGS = {"type_json_skip_duplicated_paths": 1}
# Small environments share a staging table, so that thousands of them do not become thousands of parts.
ROWS_PER_BATCH = 500_000
_NO_VERSION = datetime.min.replace(tzinfo=timezone.utc)


class NotCaptured(Exception):
    """The landing zone has no capture of the environment for the day."""


class StaleCapture(Exception):
    """ClickHouse already holds a newer capture than the landing zone does."""


class IncompleteLoad(Exception):
    """ClickHouse did not take every row of the capture."""


@dataclass(frozen=True)
class EnvironmentCapture:
    """An environment and its committed capture."""

    environment: Environment
    manifest: Manifest


@dataclass(frozen=True)
class Stored:
    """What ClickHouse holds of one environment's day: live rows, and the newest version (tombstones included)."""

    rows: int = 0
    version: datetime = _NO_VERSION


@dataclass
class LoadResult:
    """What became of the day's environments; `gone` holds the keys of those that the source no longer has."""

    loaded: list[EnvironmentCapture] = field(default_factory=list)
    unchanged: list[EnvironmentCapture] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class SnapshotLoad:
    """Loads one day's captures. `reload` loads also those that are complete already."""

    clickhouse: ClickHouse
    landing: LandingZone
    ledger: IdentityLedger
    day: date
    reload: bool = False

    def load(self, environments: Sequence[Environment]) -> LoadResult:
        """Load each environment's capture. One that fails keeps its slice and does not stop the others."""
        result = LoadResult()
        stored = self._stored()
        completed = self.ledger.completed()
        pending: list[EnvironmentCapture] = []
        for environment in environments:
            try:
                capture = self._capture(environment, stored.get(environment.key, Stored()))
            except Exception as error:  # noqa: BLE001 - whatever it is, the other environments go on
                self._fail(environment, error, result)
                continue
            held = stored.get(environment.key, Stored(0, capture.manifest.captured_at))
            is_complete = (
                completed.get(environment.key) == capture.manifest.captured_at
                and held == Stored(capture.manifest.rows, capture.manifest.captured_at)
                and not self.reload
            )
            (result.unchanged if is_complete else pending).append(capture)
        for batch in _batches(pending):
            self._load_or_split(batch, result)
        return result

    def remove_gone(self, known_environment_keys: frozenset[str]) -> list[str]:
        """Remove the environments that the source no longer has from the day's snapshot; returns their keys."""
        gone = {key: held for key, held in self._stored().items() if key not in known_environment_keys and held.rows}
        if gone:
            newest = max(held.version for held in gone.values())
            with replace_slice(self.clickhouse, _slice(self.day, sorted(gone)), newest + timedelta(milliseconds=1)):
                logger.info("%s: removing %s environments that the source no longer has", self.day, len(gone))
            self.ledger.forget(sorted(gone))
        return sorted(gone)

    def _stored(self) -> dict[str, Stored]:
        rows = self.clickhouse.query(
            # Live rows are counted; the version is also that of tombstones, which FINAL hides.
            "SELECT environment_id, sum(live), max(version) FROM ("
            " SELECT environment_id, count() AS live, max(inserted_at) AS version FROM identities FINAL"
            " WHERE snapshot_date = {day:Date} GROUP BY environment_id"
            " UNION ALL SELECT environment_id, 0, max(inserted_at) FROM identities"
            " WHERE snapshot_date = {day:Date} GROUP BY environment_id"
            ") GROUP BY environment_id",
            day=self.day,
        )
        return {key: Stored(count, version) for key, count, version in rows}

    def _capture(self, environment: Environment, held: Stored) -> EnvironmentCapture:
        manifest = self.landing.manifest(unit_of(self.day, environment.key))
        if manifest is None:
            raise NotCaptured(f"no capture of {self.day}; materialise raw_identities while the day is open")
        if manifest.format != FORMAT:
            raise NotCaptured(f"the capture has the unknown format {manifest.format}; this version reads {FORMAT}")
        if manifest.captured_at < held.version:
            raise StaleCapture(
                f"the landing zone's capture of {manifest.captured_at} is older than the loaded one of {held.version};"
                " restore the newer files or, while the day is open, capture again"
            )
        return EnvironmentCapture(environment, manifest)

    def _load_or_split(self, batch: list[EnvironmentCapture], result: LoadResult) -> None:
        """Load the batch; when that fails, each of its environments alone, so that only the culprits fail."""
        self.ledger.start([capture.environment for capture in batch])
        try:
            self._load(batch)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other environments go on
            if len(batch) == 1:
                self._fail(batch[0].environment, error, result)
                return
            for capture in batch:
                self._load_or_split([capture], result)
        else:
            self.ledger.complete([(capture.environment, capture.manifest) for capture in batch])
            result.loaded.extend(batch)

    def _load(self, batch: list[EnvironmentCapture]) -> None:
        target = _slice(self.day, [capture.environment.key for capture in batch])
        with replace_slice(self.clickhouse, target, batch[0].manifest.captured_at) as staging:
            for capture in batch:
                self._insert(staging, capture)
            self._verify(staging, batch)

    def _insert(self, staging: str, capture: EnvironmentCapture) -> None:
        environment = capture.environment
        clickhouse = self.clickhouse.tagged(
            "load", organisation_id=environment.organisation_id, project_id=environment.project_id
        )
        unit = unit_of(self.day, environment.key)
        for file in capture.manifest.files:
            body = partial(self.landing.read, unit, file)
            clickhouse.insert_stream(
                staging, COLUMNS, body, fmt="JSONEachRow", compression="zstd", settings=_JSON_SETTINGS
            )
        logger.info("environment %s: %s identities staged", environment.id, f"{capture.manifest.rows:,}")

    def _verify(self, staging: str, batch: list[EnvironmentCapture]) -> None:
        staged = dict(
            self.clickhouse.query(
                f"SELECT environment_id, count() FROM {quoted(staging)} FINAL GROUP BY environment_id"
            )
        )
        for capture in batch:
            found = staged.get(capture.environment.key, 0)
            if found != capture.manifest.rows:
                raise IncompleteLoad(
                    f"{found:,} of {capture.manifest.rows:,} captured rows arrived; nothing was changed"
                )

    def _fail(self, environment: Environment, error: Exception, result: LoadResult) -> None:
        logger.warning("load of environment %s failed", environment.id, exc_info=error)
        self.ledger.fail(environment, reason_of(error))
        result.failures.append(Failure(f"environment {environment.id}", reason_of(error)))


def _slice(day: date, environment_keys: list[str]) -> Slice:
    return Slice(
        table="identities",
        key=("environment_id", "identifier", "snapshot_date"),
        version="inserted_at",
        predicate="snapshot_date = {day:Date} AND environment_id IN {environments:Array(String)}",
        parameters={"day": day, "environments": environment_keys},
    )


def _batches(captures: list[EnvironmentCapture]) -> Iterator[list[EnvironmentCapture]]:
    """Captures of one version, up to `ROWS_PER_BATCH` rows together; a larger environment is a batch of its own."""
    ordered = sorted(captures, key=lambda capture: (capture.manifest.captured_at, capture.environment.id))
    for _, group in groupby(ordered, key=lambda capture: capture.manifest.captured_at):
        batch: list[EnvironmentCapture] = []
        for capture in group:
            if batch and sum(c.manifest.rows for c in batch) + capture.manifest.rows > ROWS_PER_BATCH:
                yield batch
                batch = []
            batch.append(capture)
        yield batch
