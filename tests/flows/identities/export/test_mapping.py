"""Both paths map any document to the same row or the same dead letter: SQL over an export, and `RowMapper`."""

import gzip
import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from typing import Any

import boto3
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_pipeline.config import Settings
from analytics_pipeline.flows.dead_letters import DeadLetter
from analytics_pipeline.flows.identities.capture import letter_of
from analytics_pipeline.flows.identities.documents import RowMapper, document_of
from analytics_pipeline.flows.identities.errors import Unmappable
from analytics_pipeline.flows.identities.export.source import ExportSource
from analytics_pipeline.flows.identities.export.staging import ExportStager
from analytics_pipeline.flows.identities.staging import COLUMNS, JSON_SETTINGS, EnvironmentCapture
from analytics_pipeline.flows.identities.units import EXPORT_FORMAT, export_unit_of, unit_of
from analytics_pipeline.resources.clickhouse.names import quoted
from analytics_pipeline.resources.landing_units import Manifest
from tests.flows.identities.wire import ENVIRONMENTS, Wire, tables
from tests.product import KEY, Product, today
from tests.thorough import on_engines

CAPTURED = datetime(2026, 3, 1, 12, 30, 45, 678_000, tzinfo=timezone.utc)


@pytest.fixture
def exporting(product: Product, monkeypatch: pytest.MonkeyPatch) -> Product:
    """A product whose landing zone is a bucket."""
    bucket = f"landing-{product.table.replace('_', '-')}"
    boto3.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    monkeypatch.setenv("LANDING_URL", f"s3://{bucket}")
    return replace(product, settings=Settings.load())


def by_export(product: Product, documents: Sequence[Wire], files: int = 1) -> tuple[Any, Any]:
    """Rows and dead letters of an export that holds the documents."""
    zone, unit = product.landing, export_unit_of(today())
    assert zone.bucket is not None
    for number in range(files):
        lines = [json.dumps({"Item": item}, ensure_ascii=number % 2 == 0) + "\n" for item in documents[number::files]]
        key = f"{unit}/t/AWSDynamoDB/x/data/{number}.json.gz"
        boto3.client("s3").put_object(
            Bucket=zone.bucket.name, Key=key, Body=gzip.compress("".join(lines).encode("utf-8"))
        )
    names = [f"t/AWSDynamoDB/x/data/{number}.json.gz" for number in range(files)]
    held = tuple(file for file in zone.stored(unit) if file.name in names)
    manifest = Manifest(EXPORT_FORMAT, CAPTURED, held, {"items": len(documents)})
    zone.adopt(unit, manifest)
    stager = ExportStager(product.clickhouse, zone, product.postgres, today(), "run")
    with product.clickhouse.staging("identities") as staging:
        expected = stager.stage(staging, [EnvironmentCapture(item, manifest) for item in ENVIRONMENTS])
        rows = _rows(product, staging)
    assert sum(expected.values()) == len(rows)
    letters = product.execute("SELECT unit, record_key, reason, payload FROM analytics_pipeline.dead_letters")
    return rows, sorted((letter for letter in letters if letter[0] != unit), key=_place)


def by_mapper(product: Product, documents: Sequence[Wire]) -> tuple[Any, Any]:
    """Rows and dead letters when each environment's documents come as the index lists them."""
    letters: list[tuple[str, DeadLetter]] = []
    with product.clickhouse.staging("identities") as staging:
        for environment in ENVIRONMENTS:
            mapper, rows = RowMapper(environment, today(), CAPTURED), []
            for stored in _listed(documents, environment.key):
                try:
                    rows.append(mapper.read(stored))
                except Unmappable as error:
                    letters.append((unit_of(today(), environment.key), letter_of(document_of(stored), error)))
            body = msgspec.json.Encoder().encode_lines(rows)
            product.clickhouse.insert_stream(
                staging, COLUMNS, partial(_once, body), fmt="JSONEachRow", settings=JSON_SETTINGS
            )
        held = _rows(product, staging)
    expected = [
        (unit, *(text.replace("\x00", "\\u0000") for text in (letter.record_key, letter.reason, letter.payload)))
        for unit, letter in letters
    ]
    return held, sorted(expected, key=_place)


def _place(letter: tuple[str, ...]) -> tuple[str, str]:
    return letter[0], letter[1]


def _once(body: bytes) -> Generator[bytes, None, None]:
    yield body


def _rows(product: Product, staging: str) -> list[tuple[Any, ...]]:
    return product.clickhouse.query(
        "SELECT snapshot_date, project_id, environment_id, identifier, identity_key, toJSONString(traits),"
        f" structured_traits, traits_format, inserted_at, source, is_deleted FROM {quoted(staging)} FINAL ORDER BY ALL"
    )


def _listed(documents: Sequence[Wire], key: str) -> list[msgspec.Raw]:
    own = [item for item in documents if item["environment_api_key"] == {"S": key}]
    ordered = sorted(own, key=lambda item: (str(item["identifier"].get("S", "")), item["composite_key"]["S"]))
    return [msgspec.Raw(msgspec.json.encode(item)) for item in ordered]


@pytest.mark.slow
@on_engines(25)
@given(documents=tables(), files=st.integers(1, 3))
def test_stage__any_documents__rows_and_dead_letters_are_those_of_the_query_path(
    exporting: Product, documents: list[Wire], files: int
) -> None:
    rows, letters = by_export(exporting, documents, files)
    expected_rows, expected_letters = by_mapper(exporting, documents)

    assert rows == expected_rows
    # A document may be refused on two counts: then the mapper tells that its identifier is repeated.
    twice = {key for _, key, reason, _ in expected_letters if reason.startswith("another document")}
    assert [(unit, key, key in twice or reason, payload) for unit, key, reason, payload in letters] == [
        (unit, key, key in twice or reason, payload) for unit, key, reason, payload in expected_letters
    ]


PLAIN: Mapping[str, list[Wire]] = {
    "numbers": [{"N": n} for n in ("0", "-1", "1.5", "-0.000001", "9223372036854775808", str(-(2**63)), "9" * 38)],
    "texts": [{"S": text} for text in ("", "2024-01-01", 'ключ \x00\n"\\/', "1")],
    "others": [{"BOOL": True}, {"BOOL": False}, {"NULL": True}],
}


@pytest.mark.parametrize("kind", PLAIN)
def test_stage__ordinary_values__never_pass_through_python(
    exporting: Product, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(ExportSource, "others", lambda *_: pytest.fail("fetched"))
    listed = [{"M": {"trait_key": {"S": str(n)}, "trait_value": item}} for n, item in enumerate(PLAIN[kind])]
    table = [_document("alice", {"L": listed}), _document("bob", {"L": []}), _document("carol", {"NULL": True})]

    assert by_export(exporting, table) == by_mapper(exporting, table)


def _document(identifier: str, listed: Wire) -> Wire:
    return {
        "composite_key": {"S": identifier},
        "environment_api_key": {"S": KEY},
        "identifier": {"S": identifier},
        "identity_traits": listed,
        "system_traits": {"M": {"cohort": {"BOOL": True}}},
        "django_id": {"NULL": True},
    }
