"""Landing zone → ClickHouse: each environment's slice of the day becomes what its capture holds."""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import groupby

from analytics_pipeline.flows.erasure.forgotten import forgotten, scrub
from analytics_pipeline.flows.failures import Failure, reason_and_place, reason_of
from analytics_pipeline.flows.guards import require_room
from analytics_pipeline.flows.held_tables import Estimate
from analytics_pipeline.flows.identities.errors import EnvironmentsRefused, IncompleteLoad, NotCaptured, StaleCapture
from analytics_pipeline.flows.identities.export.staging import ExportStager
from analytics_pipeline.flows.identities.ledger import IdentityLedger, Loaded
from analytics_pipeline.flows.identities.staging import EnvironmentCapture, RowFileStager, Stager, staged_rows
from analytics_pipeline.flows.identities.stored import NOTHING, Stored, stored_environments
from analytics_pipeline.flows.identities.units import EARLIER_FORMAT, EXPORT_FORMAT, FORMAT, export_unit_of, unit_of
from analytics_pipeline.flows.tenants import Environment
from analytics_pipeline.isolation import Culprit, isolated
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.limits import one_of
from analytics_pipeline.resources.clickhouse.slices import Slice, replace_slice
from analytics_pipeline.resources.landing import LandingZone
from analytics_pipeline.resources.landing_units import Manifest

logger = logging.getLogger(__name__)

# Small environments share a staging table, so that thousands of them do not become thousands of parts.
ROWS_PER_BATCH = 500_000
FORMATS = (FORMAT, EARLIER_FORMAT, EXPORT_FORMAT)


@dataclass
class LoadResult:
    """Outcomes of the day's environments."""

    loaded: list[Loaded] = field(default_factory=list)
    unchanged: list[Loaded] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    @property
    def done(self) -> int:
        """How many environments are complete."""
        return len(self.loaded) + len(self.unchanged)


@dataclass(frozen=True)
class SnapshotLoad:
    """Loads one day's captures. `reload` loads also those that are complete already, but by an earlier run."""

    clickhouse: ClickHouse
    landing: LandingZone
    ledger: IdentityLedger
    day: date
    reload: bool = False

    def load(self, environments: Sequence[Environment]) -> LoadResult:
        """Load each environment's capture. One that fails keeps its slice and does not stop the others.

        Raises:
            DiskFull, TooManyParts: a guard stopped it; environments that were loaded before stay.
        """
        result = LoadResult()
        stored = stored_environments(self.clickhouse, self.day)
        completed = self.ledger.completed(by_this_run=self.reload)
        export = self.landing.readable_manifest(export_unit_of(self.day))
        pending: list[EnvironmentCapture] = []
        for environment in environments:
            held, recorded = stored.get(environment.key, NOTHING), completed.get(environment.key)
            # An environment that is held as recorded is complete, also when its capture is not kept any more.
            loaded = Loaded(environment, *recorded) if recorded and held.is_load(*recorded) else None
            try:
                capture = self._capture(environment, export, held)
            except Exception as error:  # noqa: BLE001 - whatever it is, the other environments go on
                if loaded and isinstance(error, NotCaptured):
                    result.unchanged.append(loaded)
                else:
                    self._fail(environment, error, result)
                continue
            if loaded and loaded.captured_at == capture.manifest.captured_at:
                result.unchanged.append(loaded)
            else:
                pending.append(capture)
        for batch in _batches(pending):
            require_room(self.clickhouse, "identities")
            self._load_or_split(batch, result)
        return result

    def estimate(self, environments: Sequence[Environment]) -> Estimate:
        """Rows and bytes of the captures that a load would read now; one that cannot be read counts for nothing."""
        stored = stored_environments(self.clickhouse, self.day)
        completed = {} if self.reload else self.ledger.completed()
        export = self.landing.readable_manifest(export_unit_of(self.day))
        manifests: dict[datetime, Manifest] = {}
        total = Estimate()
        for environment in environments:
            held, recorded = stored.get(environment.key, NOTHING), completed.get(environment.key)
            own = self.landing.readable_manifest(unit_of(self.day, environment.key))
            newest = max(filter(None, (own, export)), key=lambda one: one.captured_at, default=None)
            if newest is None or (recorded and held.is_load(*recorded) and recorded[0] == newest.captured_at):
                continue
            if newest is export:
                manifests[newest.captured_at] = newest
            else:
                total += Estimate(newest.rows, newest.bytes)
        # The files of an export are read once for all.
        return sum((Estimate(one.rows, one.bytes) for one in manifests.values()), total)

    def remove_gone(self, known_environment_keys: frozenset[str], among: Collection[int] | None = None) -> list[str]:
        """Remove the environments that the source no longer has from the day's snapshot; returns their keys.

        `among` narrows to those that were loaded for these projects.
        """
        # Before the rows go: a ledger that outlives them would vouch for them for ever.
        self.ledger.forget_gone(known_environment_keys, among)
        narrowed, parameters = one_of("project_id", "UInt64", sorted(among)) if among else ("true", {})
        rows = self.clickhouse.query(
            "SELECT environment_id, max(inserted_at) FROM identities FINAL WHERE snapshot_date = {day:Date}"
            f" AND {narrowed} GROUP BY environment_id",
            day=self.day,
            **parameters,
        )
        gone = {key: version for key, version in rows if key not in known_environment_keys}
        if gone:
            newest = max(gone.values())
            with replace_slice(self.clickhouse, _slice(self.day, sorted(gone)), newest + timedelta(milliseconds=1)):
                logger.info("%s: removing %s environments that the source no longer has", self.day, len(gone))
        return sorted(gone)

    def _capture(self, environment: Environment, export: Manifest | None, held: Stored) -> EnvironmentCapture:
        """The newest capture that covers the environment: its own, or the export of the whole table."""
        candidates = [item for item in (self.landing.manifest(unit_of(self.day, environment.key)), export) if item]
        if not candidates:
            raise NotCaptured(f"no capture of {self.day}; materialise raw_identities while the day is open")
        manifest = max(candidates, key=lambda candidate: candidate.captured_at)
        if manifest.format not in FORMATS:
            raise NotCaptured(
                f"the capture has the unknown format {manifest.format}; this version reads {', '.join(FORMATS)}"
            )
        if manifest.captured_at < held.version:
            raise StaleCapture(
                f"the landing zone's capture of {manifest.captured_at} is older than the loaded one of {held.version};"
                " restore the newer files or, while the day is open, capture again"
            )
        return EnvironmentCapture(environment, manifest)

    def _load_or_split(self, batch: list[EnvironmentCapture], result: LoadResult) -> None:
        """Load the batch, or its parts when that fails, so that only the culprits fail."""
        if batch and batch[0].manifest.format == EXPORT_FORMAT:
            self._load_export(batch, result)
            return
        for outcome in isolated(batch, self._load, lambda error: True):
            if isinstance(outcome, Culprit):
                self._fail(outcome.unit.environment, outcome.error, result)
            else:
                self._complete(outcome.result, result)

    def _load_export(self, batch: list[EnvironmentCapture], result: LoadResult) -> None:
        """The environments of an export share its files: what is wrong with them is wrong for all."""
        try:
            loaded = self._load(batch) if batch else []
        except EnvironmentsRefused as error:
            self._load_export(self._without_refused(batch, error, result), result)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other environments go on
            for capture in batch:
                self._fail(capture.environment, error, result)
        else:
            self._complete(loaded, result)

    def _complete(self, loaded: list[Loaded], result: LoadResult) -> None:
        self.ledger.complete(loaded)
        result.loaded.extend(loaded)

    def _without_refused(
        self, batch: list[EnvironmentCapture], error: EnvironmentsRefused, result: LoadResult
    ) -> list[EnvironmentCapture]:
        for capture in batch:
            if capture.environment.key in error.environments:
                self._fail(capture.environment, error, result)
        return [capture for capture in batch if capture.environment.key not in error.environments]

    def _load(self, batch: Sequence[EnvironmentCapture]) -> list[Loaded]:
        self.ledger.start([capture.environment for capture in batch])
        manifest = batch[0].manifest
        target = _slice(self.day, [capture.environment.key for capture in batch])
        with replace_slice(self.clickhouse, target, manifest.captured_at) as staging:
            expected = self._stager(manifest.format).stage(staging, batch)
            self._verify(staging, expected)
            if scrub(self.clickhouse, forgotten(self.ledger.postgres), "identities", staging):
                left = staged_rows(self.clickhouse, staging)
                expected = {key: left.get(key, 0) for key in expected}
        return [Loaded(c.environment, manifest.captured_at, expected[c.environment.key]) for c in batch]

    def _stager(self, fmt: str) -> Stager:
        if fmt == EXPORT_FORMAT:
            return ExportStager(self.clickhouse, self.landing, self.ledger.postgres, self.day, self.ledger.run_id)
        return RowFileStager(self.clickhouse, self.landing, self.day)

    def _verify(self, staging: str, expected: Mapping[str, int]) -> None:
        staged = staged_rows(self.clickhouse, staging)
        for key, rows in expected.items():
            if staged.get(key, 0) != rows:
                raise IncompleteLoad(f"{staged.get(key, 0):,} of {rows:,} captured rows arrived; nothing was changed")

    def _fail(self, environment: Environment, error: Exception, result: LoadResult) -> None:
        logger.warning("load of environment %s failed: %s", environment.id, reason_and_place(error))
        self.ledger.fail(environment, reason_of(error))
        result.failures.append(Failure.of(f"environment {environment.id}", error))


def _slice(day: date, environment_keys: list[str]) -> Slice:
    environments, parameters = one_of("environment_id", "String", environment_keys)
    return Slice(
        table="identities",
        key=("environment_id", "identifier", "snapshot_date"),
        version="inserted_at",
        predicate=f"snapshot_date = {{day:Date}} AND {environments}",
        parameters={"day": day, **parameters},
    )


def _batches(captures: list[EnvironmentCapture]) -> Iterator[list[EnvironmentCapture]]:
    """Captures of one format and version, up to `ROWS_PER_BATCH` rows together; a larger environment is alone.

    Those of an export stay together, so that its files are read once.
    """
    ordered = sorted(captures, key=lambda capture: (*_origin(capture), capture.environment.id))
    for (fmt, _), group in groupby(ordered, key=_origin):
        batch: list[EnvironmentCapture] = []
        for capture in group:
            rows = sum(c.manifest.rows for c in batch) + capture.manifest.rows
            if batch and rows > ROWS_PER_BATCH and fmt != EXPORT_FORMAT:
                yield batch
                batch = []
            batch.append(capture)
        yield batch


def _origin(capture: EnvironmentCapture) -> tuple[str, datetime]:
    return capture.manifest.format, capture.manifest.captured_at
