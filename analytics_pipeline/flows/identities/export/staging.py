"""Export files → staging table, read and flattened by ClickHouse itself.

What SQL maps exactly never passes through Python. The few other documents (nested trait values, numbers in unusual
notation, documents that are no identities) are fetched and mapped by the same `RowMapper` that the query path uses, so
both paths give the same rows and the same dead letters.
"""

import logging
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from itertools import islice

import msgspec

from analytics_pipeline.flows.dead_letters import DeadLetter, replace_dead_letters
from analytics_pipeline.flows.identities.capture import MAX_DEAD_LETTERS, letter_of
from analytics_pipeline.flows.identities.documents import Document, IdentityRow, RowMapper
from analytics_pipeline.flows.identities.errors import EnvironmentsRefused, IncompleteLoad, Unmappable
from analytics_pipeline.flows.identities.export.source import ExportSource
from analytics_pipeline.flows.identities.staging import COLUMNS, JSON_SETTINGS, EnvironmentCapture, staged_rows
from analytics_pipeline.flows.identities.units import export_unit_of, unit_of
from analytics_pipeline.flows.tenants import Environment
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.names import quoted
from analytics_pipeline.resources.landing import LandingZone
from analytics_pipeline.resources.postgres import Postgres

logger = logging.getLogger(__name__)

_ROWS_PER_INSERT = 10_000
_DECODER = msgspec.json.Decoder(Document)


@dataclass
class _Letters:
    """The refused documents of one environment, each once, however often it was looked at."""

    by_document: dict[str, DeadLetter] = field(default_factory=dict)

    def add(self, letter: DeadLetter) -> None:
        # One more than allowed is enough to know.
        if len(self.by_document) <= MAX_DEAD_LETTERS:
            self.by_document[letter.record_key or letter.payload] = letter

    def __len__(self) -> int:
        return len(self.by_document)


@dataclass(frozen=True)
class ExportStager:
    """Captures that are an export of the whole table; dead letters are found and recorded here."""

    clickhouse: ClickHouse
    landing: LandingZone
    postgres: Postgres
    day: date
    run_id: str

    def stage(self, staging: str, batch: Sequence[EnvironmentCapture]) -> dict[str, int]:
        """Insert the batch; of several documents with one identifier, the first by composite key becomes the row.

        Every document of an environment ends as its row or as a dead letter: the counts prove it.
        """
        unit, manifest = export_unit_of(self.day), batch[0].manifest
        source = ExportSource(self.clickhouse.tagged("load"), self.landing, unit, manifest)
        environments = {capture.environment.key: capture.environment for capture in batch}
        source.check()
        counts = source.counts()
        _check_total(manifest.about.get("items"), sum(counts.values()))
        source.insert_plain(staging, self.day, {key: item.project_id for key, item in environments.items()})
        load = _Rest(source, staging, self.day, manifest.captured_at, environments)
        load.complete(counts)
        self._record(load.letters)
        return {key: counts.get(key, 0) - len(load.letters[key]) for key in environments}

    def _record(self, letters: Mapping[str | None, _Letters]) -> None:
        for key, own in letters.items():
            unit = export_unit_of(self.day) if key is None else unit_of(self.day, key)
            replace_dead_letters(self.postgres, "identities", unit, list(own.by_document.values()), self.run_id)


class _Rest:
    """Work that remains once the plain documents are staged: usually none."""

    def __init__(
        self,
        source: ExportSource,
        staging: str,
        day: date,
        captured_at: datetime,
        environments: Mapping[str, Environment],
    ) -> None:
        self._source = source
        self._staging = staging
        self._day = day
        self._captured_at = captured_at
        self._environments = environments
        # Documents that name no environment are nobody's: None.
        self.letters: dict[str | None, _Letters] = {key: _Letters() for key in [*environments, None]}

    def complete(self, counts: Mapping[str | None, int]) -> None:
        """Make each document of the environments a row or a dead letter."""
        incomplete = self._incomplete(counts)
        if not incomplete and not counts.get(None):
            return
        self._insert(self._mapped(self._source.others(incomplete), one_by_one=True))
        self._refuse_too_many()
        repeated = self._incomplete(counts)
        if repeated:
            self._insert(self._mapped(self._source.repeated(repeated), one_by_one=False))
            self._refuse_too_many()
            # Of rows with one key and version the last one inserted stays.
            self._source.clickhouse.execute(f"OPTIMIZE TABLE {quoted(self._staging)} FINAL")

    def _incomplete(self, counts: Mapping[str | None, int]) -> list[str]:
        staged = staged_rows(self._source.clickhouse, self._staging)
        return [key for key in self._environments if staged.get(key, 0) + len(self.letters[key]) != counts.get(key, 0)]

    def _mapped(self, documents: Iterable[tuple[str | None, str]], *, one_by_one: bool) -> Iterator[IdentityRow]:
        """The rows of the documents; a mapper that sees several of them refuses a repeated identifier."""
        mappers: dict[str, RowMapper] = {}
        for key, text in documents:
            document = _decoded(text)
            if document is None or key is None:
                reason = "is not a DynamoDB document" if document is None else "environment_api_key is not a text"
                composite = document.get("composite_key") if document else None
                self.letters[key].add(DeadLetter((composite and composite.S) or "", reason, text))
                continue
            if one_by_one or key not in mappers:
                mappers[key] = RowMapper(self._environments[key], self._day, self._captured_at)
            try:
                yield mappers[key].row(document)
            except Unmappable as error:
                self.letters[key].add(letter_of(document, error))

    def _insert(self, rows: Iterator[IdentityRow]) -> None:
        encoder = msgspec.json.Encoder()
        while chunk := list(islice(rows, _ROWS_PER_INSERT)):
            body = encoder.encode_lines(chunk)
            self._source.clickhouse.insert_stream(
                self._staging, COLUMNS, partial(_once, body), fmt="JSONEachRow", settings=JSON_SETTINGS
            )

    def _refuse_too_many(self) -> None:
        too_many = [item for key, item in self._environments.items() if len(self.letters[key]) > MAX_DEAD_LETTERS]
        if too_many:
            raise EnvironmentsRefused(too_many, f"more than {MAX_DEAD_LETTERS:,} documents cannot be mapped")


def _once(body: bytes) -> Generator[bytes, None, None]:
    yield body


def _decoded(text: str) -> Document | None:
    try:
        return _DECODER.decode(text)
    except (msgspec.DecodeError, UnicodeError):
        return None


def _check_total(exported: int | None, found: int) -> None:
    if exported is not None and exported != found:
        raise IncompleteLoad(
            f"the export's files hold {found:,} documents, DynamoDB exported {exported:,}; nothing was changed"
        )
