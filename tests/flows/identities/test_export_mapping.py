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
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics_pipeline.config import Settings
from analytics_pipeline.flows.dead_letters import DeadLetter
from analytics_pipeline.flows.identities.capture import letter_of, unit_of
from analytics_pipeline.flows.identities.documents import Document, RowMapper, Unmappable
from analytics_pipeline.flows.identities.export import FORMAT, export_unit_of
from analytics_pipeline.flows.identities.export_source import ExportSource
from analytics_pipeline.flows.identities.export_staging import ExportStager
from analytics_pipeline.flows.identities.staging import COLUMNS, JSON_SETTINGS, EnvironmentCapture
from analytics_pipeline.flows.tenants import Environment
from analytics_pipeline.resources.clickhouse import quoted
from analytics_pipeline.resources.landing import Manifest
from tests.product import KEY, Product, today

Wire = dict[str, Any]

ENVIRONMENTS = (Environment(100, KEY, "Production", 10, 1), Environment(110, "ключ/2", "Other", 11, 1))
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
    manifest = Manifest(FORMAT, CAPTURED, held, {"items": len(documents)})
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
            for document in _listed(documents, environment.key):
                try:
                    rows.append(mapper.row(document))
                except Unmappable as error:
                    letters.append((unit_of(today(), environment.key), letter_of(document, error)))
            body = msgspec.json.Encoder().encode_lines(rows)
            product.clickhouse.insert_stream(
                staging, COLUMNS, partial(_once, body), fmt="JSONEachRow", settings=JSON_SETTINGS
            )
        held = _rows(product, staging)
    stored = [
        (unit, *(text.replace("\x00", "\\u0000") for text in (letter.record_key, letter.reason, letter.payload)))
        for unit, letter in letters
    ]
    return held, sorted(stored, key=_place)


def _place(letter: tuple[str, ...]) -> tuple[str, str]:
    return letter[0], letter[1]


def _once(body: bytes) -> Generator[bytes, None, None]:
    yield body


def _rows(product: Product, staging: str) -> list[tuple[Any, ...]]:
    return product.clickhouse.query(
        "SELECT snapshot_date, project_id, environment_id, identifier, identity_key, toJSONString(traits), inserted_at,"
        f" source, is_deleted FROM {quoted(staging)} FINAL ORDER BY ALL"
    )


def _listed(documents: Sequence[Wire], key: str) -> list[Document]:
    own = [item for item in documents if item["environment_api_key"] == {"S": key}]
    ordered = sorted(own, key=lambda item: (str(item["identifier"].get("S", "")), item["composite_key"]["S"]))
    return [msgspec.json.decode(msgspec.json.encode(item), type=Document) for item in ordered]


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["2024-01-01", "2024-01-01T10:00:00Z", "10:00", "a.b", "a", "b", "`", "\\", '"', "\x00", "1", "true", "null", "NaN"]
)
digits = (
    st.integers(-(10**37), 10**37).map(str)
    | st.integers(2**63 - 2, 2**63 + 2).map(str)
    | st.integers(-(2**63) - 2, -(2**63) + 2).map(str)
    | st.decimals(allow_nan=False, allow_infinity=False, places=9).map(str)
    | st.from_regex(r"-?(0|[1-9][0-9]{0,20})\.[0-9]{1,20}", fullmatch=True)
    | st.sampled_from(["-0", "0", "1.0", "1E+20", "1e-7", "0.000001", "0.0000001", "-0.0000015", "00", "+1", "NaN", ""])
    | st.integers(90, 130).map(lambda zeros: "7" + "0" * zeros)
)
scalar: st.SearchStrategy[Wire] = (
    st.fixed_dictionaries({"S": text})
    | st.fixed_dictionaries({"N": digits})
    | st.fixed_dictionaries({"BOOL": st.booleans()})
    | st.just({"NULL": True})
)
value: st.SearchStrategy[Wire] = st.one_of(
    *[scalar] * 6,
    st.sampled_from([{"B": "AA=="}, {"SS": ["a"]}, {"NS": ["1"]}, {"M": {}}, {"L": []}]),
    st.fixed_dictionaries({"L": st.lists(scalar, max_size=2)}),
    st.fixed_dictionaries({"M": st.dictionaries(text, scalar, max_size=2)}),
)
trait = st.fixed_dictionaries({"trait_key": st.fixed_dictionaries({"S": text})}, optional={"trait_value": value})
entry = st.one_of(
    *[trait.map(lambda fields: {"M": fields})] * 12,
    st.sampled_from([{"S": "x"}, {"M": {}}, {"NULL": True}, {"M": {"trait_key": {"N": "1"}}}]),
)
traits = st.one_of(
    *[st.fixed_dictionaries({"L": st.lists(entry, max_size=5)})] * 8,
    st.sampled_from([{"NULL": True}, {"S": "x"}, {"M": {}}, {"L": []}, {"L": [{"S": "x"}]}]),
)
system = st.one_of(
    st.just({"NULL": True}),
    st.fixed_dictionaries({"M": st.dictionaries(text, value, max_size=3)}),
    st.just({"S": "x"}),
)


@st.composite
def tables(draw: st.DrawFn) -> list[Wire]:
    """Whole tables; composite keys are unique, as a partition key is."""
    return [
        {"composite_key": {"S": f"key {number}"}, **draw(_attributes)} for number in range(draw(st.integers(0, 25)))
    ]


_attributes = st.fixed_dictionaries(
    {
        "environment_api_key": st.sampled_from([{"S": item.key} for item in ENVIRONMENTS] * 4 + [{"S": "x"}]),
        "identifier": st.one_of(
            *[text.map(lambda own: {"S": own})] * 8, st.sampled_from([{"S": "ü" * 1024}, {"S": "ü" * 1025}, {"N": "1"}])
        ),
    },
    optional={
        "identity_traits": traits,
        "system_traits": system,
        "django_id": st.just({"NULL": True}) | st.just({"S": "7"}) | st.fixed_dictionaries({"N": digits}),
        "identity_features": st.just({"L": [{"M": {"feature": {"S": '"Item": {'}}}]}),
    },
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
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
