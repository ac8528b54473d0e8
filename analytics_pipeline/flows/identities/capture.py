"""DynamoDB → landing zone: the identities of every enabled environment, as they are now, kept as one day's capture.

`IdentityCapture` asks for each environment; `ExportCapture` (export/capture.py) is its peer for whole tables.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Protocol

import msgspec

from analytics_pipeline.flows.dead_letters import DeadLetter, replace_dead_letters
from analytics_pipeline.flows.erasure.forgotten import Forgotten, forgotten
from analytics_pipeline.flows.failures import Failure, reason_and_place
from analytics_pipeline.flows.identities.documents import Document, IdentityRow, RowMapper, document_of
from analytics_pipeline.flows.identities.errors import TooManyDeadLetters, Unmappable
from analytics_pipeline.flows.identities.reader import IdentityReader
from analytics_pipeline.flows.identities.units import FORMAT, unit_of
from analytics_pipeline.flows.tenants import Environment
from analytics_pipeline.resources.clickhouse.versions import later_than
from analytics_pipeline.resources.deadline import Deadline
from analytics_pipeline.resources.landing import LandingZone
from analytics_pipeline.resources.landing_units import Manifest
from analytics_pipeline.resources.postgres import Postgres

logger = logging.getLogger(__name__)

MAX_DEAD_LETTERS = 10_000
_LOG_EVERY_SECONDS = 10.0


@dataclass(frozen=True)
class Capture:
    """A committed capture of environments: identities, and documents that went to dead letters; None: not known yet."""

    environments: tuple[Environment, ...]
    manifest: Manifest
    identities: int | None
    dead_letters: int | None


class CaptureMethod(Protocol):
    """A way to get identities into the landing zone."""

    def capture(self, day: date, environments: Sequence[Environment]) -> tuple[list[Capture], list[Failure]]:
        """Capture the environments anew. What fails keeps its earlier capture."""
        ...


@dataclass(frozen=True)
class IdentityCapture:
    """Captures environments in parallel, each as one atomic unit of the landing zone.

    With `resumes`, what an earlier attempt of this run has captured is kept. Nothing more is read after the `deadline`.
    """

    reader: IdentityReader
    landing: LandingZone
    postgres: Postgres
    run_id: str
    concurrency: int
    resumes: bool = False
    deadline: Deadline | None = None

    def capture(self, day: date, environments: Sequence[Environment]) -> tuple[list[Capture], list[Failure]]:
        """Capture each environment anew. One that fails keeps its earlier capture and does not stop the others."""
        failures: list[Failure] = []
        with ThreadPoolExecutor(self.concurrency, thread_name_prefix="capture") as pool:
            before = list(pool.map(self.landing.readable_manifest, [unit_of(day, e.key) for e in environments]))
            captured_at = later_than(*(manifest.captured_at for manifest in before if manifest))
            captures = list(self._captured_already(environments, before))
            done = {environment for capture in captures for environment in capture.environments}
            who = forgotten(self.postgres)
            wanted = [one for one in environments if one not in done]
            wanted = [one for one in wanted if not who.has_environment(one.key, one.organisation_id)]
            tasks = {pool.submit(self._capture_one, day, captured_at, item, who): item for item in wanted}
            for task in as_completed(tasks):
                try:
                    captures.append(task.result())
                except Exception as error:  # noqa: BLE001 - whatever it is, the other environments go on
                    logger.warning("capture of environment %s failed: %s", tasks[task].id, reason_and_place(error))
                    failures.append(Failure.of(f"environment {tasks[task].id}", error))
        return sorted(captures, key=lambda capture: capture.environments[0].id), sorted(failures, key=lambda f: f.unit)

    def _captured_already(
        self, environments: Sequence[Environment], before: Sequence[Manifest | None]
    ) -> Iterator[Capture]:
        for environment, manifest in zip(environments, before, strict=True):
            if self.resumes and manifest and manifest.about.get("run_id") == self.run_id:
                yield Capture((environment,), manifest, manifest.rows, manifest.about["dead_letters"])

    def _capture_one(self, day: date, captured_at: datetime, environment: Environment, who: Forgotten) -> Capture:
        """Rows first, dead letters next, the manifest last."""
        unit = unit_of(day, environment.key)
        mapper = RowMapper(environment, day, captured_at)
        encoder = msgspec.json.Encoder()
        letters: list[DeadLetter] = []
        with self.landing.writer(unit, fmt=FORMAT, captured_at=captured_at) as writer:
            for page in self._pages(environment):
                rows = list(_mapped(page, mapper, letters))
                if who.any_of("identity"):
                    rows = [row for row in rows if not who.has("identity", row.environment_id, row.identifier)]
                writer.write(encoder.encode_lines(rows), len(rows))
            replace_dead_letters(self.postgres, "identities", unit, letters, self.run_id)
            about = {"day": day.isoformat(), **asdict(environment), "dead_letters": len(letters), "run_id": self.run_id}
            manifest = writer.commit(about)
        return Capture((environment,), manifest, manifest.rows, len(letters))

    def _pages(self, environment: Environment) -> Iterator[list[msgspec.Raw]]:
        """The environment's pages, with a log line of the progress every ten seconds."""
        read, logged = 0, time.monotonic()
        for page in self.reader.pages(environment.key):
            if self.deadline:
                self.deadline.check()
            yield page
            read += len(page)
            if time.monotonic() - logged > _LOG_EVERY_SECONDS:
                logged = time.monotonic()
                logger.info("environment %s: %s identities read so far", environment.id, f"{read:,}")


def _mapped(page: list[msgspec.Raw], mapper: RowMapper, letters: list[DeadLetter]) -> Iterator[IdentityRow]:
    for stored in page:
        try:
            yield mapper.read(stored)
        except Unmappable as error:
            letters.append(letter_of(document_of(stored), error))
            if len(letters) > MAX_DEAD_LETTERS:
                raise TooManyDeadLetters(f"more than {MAX_DEAD_LETTERS:,} documents cannot be mapped") from error


def letter_of(document: Document, error: Unmappable) -> DeadLetter:
    """The dead letter of a document that cannot become a row."""
    key = document.get("composite_key")
    payload = msgspec.json.encode(document).decode("utf-8", "backslashreplace")
    return DeadLetter(key.S if key and key.S else "", str(error), payload)
