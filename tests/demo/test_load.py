from collections.abc import Iterator, Mapping
from dataclasses import astuple, replace
from typing import TYPE_CHECKING, Any

import boto3
import psycopg
import pytest
from boto3.dynamodb.types import TypeDeserializer

from analytics_pipeline.demo import DemoProduct, DemoSummary, demo_product, load_demo_product
from analytics_pipeline.demo.dynamodb import INDEX, document
from analytics_pipeline.demo.identities import Identity
from tests.demo.conftest import own_database

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_RELATIONS = {
    "organisations": "id",
    "projects": "id",
    "environments": "id",
    "segments": "id",
    "feature_flags": "(name, scope)",
}
# Also those whose rows follow the clock.
_ALL = (
    *_RELATIONS,
    "accounts",
    "conversations",
    "reporting_events",
    "application_settings",
    "ai_duo_chat_events",
    "ai_code_suggestion_events",
    "event_logs",
)


@pytest.fixture(scope="module")
def loaded(stack_environment: Mapping[str, str]) -> Iterator[tuple[str, str, DemoSummary]]:
    """The whole product, once: a database, a table and the summary of the load."""
    with pytest.MonkeyPatch.context() as patch, own_database(stack_environment["DATABASE_URL"]) as database:
        for name, value in stack_environment.items():
            patch.setenv(name, value)
        yield database, "demo_whole_product", load_demo_product(database, "demo_whole_product")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> DemoProduct:
    """The same rows with 60 identities: three batches, which load in a moment."""
    product = replace(demo_product(), identities=demo_product().identities[:60])
    monkeypatch.setattr("analytics_pipeline.demo.load.demo_product", lambda: product)
    return product


def _dynamodb() -> "DynamoDBClient":
    client: DynamoDBClient = boto3.client("dynamodb")
    return client


def _rows(database: str, columns: str = "*") -> dict[str, list[tuple[Any, ...]]]:
    with psycopg.connect(database) as connection:
        return {
            relation: connection.execute(f"SELECT {columns} FROM {relation} ORDER BY {key}".encode()).fetchall()
            for relation, key in _RELATIONS.items()
        }


def _stored(table: str, environment_api_key: str) -> list[dict[str, Any]]:
    pages = (
        _dynamodb()
        .get_paginator("query")
        .paginate(
            TableName=table,
            IndexName=INDEX,
            KeyConditionExpression="environment_api_key = :key",
            ExpressionAttributeValues={":key": {"S": environment_api_key}},
        )
    )
    return [item for page in pages for item in page["Items"]]


def _identities_of(environment_api_key: str) -> list[Identity]:
    rows = [row for row in demo_product().identities if row.environment_api_key == environment_api_key]
    return sorted(rows, key=lambda row: row.identifier)


def _a_key_of(identity: Identity) -> dict[str, Any]:
    return {"composite_key": {"S": identity.composite_key}}


def test_load__empty_stack__reports_the_whole_product(loaded: tuple[str, str, DemoSummary]) -> None:
    with psycopg.connect(loaded[0]) as connection:
        counts = [connection.execute(f"SELECT count(*) FROM {name}".encode()).fetchall()[0][0] for name in _ALL]
    assert loaded[2] == DemoSummary(
        organisations=4,
        projects=8,
        environments=16,
        live_segments=51,
        deleted_segments=3,
        feature_flags=6,
        identities=5_068,
        rows_written=sum(counts),
        identities_written=5_068,
    )
    assert min(counts) > 0


@pytest.mark.slow
def test_load__again_later__writes_the_events_since_as_of_now(
    small: DemoProduct, environment: Mapping[str, str], database: str, table: str
) -> None:
    """The first load's rows are as if the product had written them; those of a later one are late rows."""
    load_demo_product(database, table)
    with psycopg.connect(database) as connection:
        before = connection.execute("SELECT id, updated_at = created_at FROM reporting_events").fetchall()
        connection.execute("DELETE FROM reporting_events WHERE created_at > now() - interval '2 days'")
        ((began,),) = connection.execute("SELECT now()").fetchall()

    load_demo_product(database, table)

    with psycopg.connect(database) as connection:
        kept = connection.execute("SELECT id FROM reporting_events WHERE updated_at = created_at").fetchall()
        late = connection.execute("SELECT id FROM reporting_events WHERE updated_at > %s", [began]).fetchall()
    assert {is_old for _, is_old in before} == {True}
    assert late
    assert {id_ for (id_,) in kept} | {id_ for (id_,) in late} >= {id_ for id_, _ in before}


def test_load__empty_stack__stores_every_row(loaded: tuple[str, str, DemoSummary]) -> None:
    product = demo_product()
    stored = _rows(loaded[0])
    assert stored == {
        relation: sorted([astuple(row) for row in getattr(product, relation)], key=lambda row: row[:2])
        for relation in _RELATIONS
    }


def test_load__empty_stack__makes_the_table_that_flagsmith_has(
    loaded: tuple[str, str, DemoSummary], environment: Mapping[str, str]
) -> None:
    made = _dynamodb().describe_table(TableName=loaded[1])["Table"]
    index = made["GlobalSecondaryIndexes"][0]
    assert made["KeySchema"] == [{"AttributeName": "composite_key", "KeyType": "HASH"}]
    assert made["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert (index["IndexName"], index["Projection"], index["KeySchema"]) == (
        "environment_api_key-identifier-index",
        {"ProjectionType": "ALL"},
        [
            {"AttributeName": "environment_api_key", "KeyType": "HASH"},
            {"AttributeName": "identifier", "KeyType": "RANGE"},
        ],
    )
    assert made["ItemCount"] == 5_068


@pytest.mark.parametrize("name", ["Clinic Scheduler", "Ledger"])
def test_load__one_environment__stores_each_document_whole(
    loaded: tuple[str, str, DemoSummary], environment: Mapping[str, str], name: str
) -> None:
    project = next(row.id for row in demo_product().projects if row.name == name)
    api_key = next(row.api_key for row in demo_product().environments if row.project_id == project)
    read = TypeDeserializer().deserialize
    assert [read({"M": item}) for item in _stored(loaded[1], api_key)] == list(map(document, _identities_of(api_key)))


def test_load__numbers__keep_every_digit(loaded: tuple[str, str, DemoSummary], environment: Mapping[str, str]) -> None:
    identity = next(
        row
        for row in demo_product().identities
        if {"account_number", "mrr"} <= set(row.traits or {}) and isinstance((row.traits or {})["mrr"], float)
    )
    item = _dynamodb().get_item(TableName=loaded[1], Key=_a_key_of(identity))["Item"]
    stored = {trait["M"]["trait_key"]["S"]: trait["M"]["trait_value"] for trait in item["identity_traits"]["L"]}
    traits = identity.traits or {}
    assert {name: stored[name] for name in ("account_number", "mrr")} == {
        "account_number": {"N": str(traits["account_number"])},
        "mrr": {"N": repr(traits["mrr"])},
    }


def test_load__second_time__changes_nothing(small: DemoProduct, database: str, table: str) -> None:
    load_demo_product(database, table)
    first = _rows(database, "xmin, ctid, *")
    marked = _a_key_of(small.identities[7])
    _dynamodb().update_item(
        TableName=table,
        Key=marked,
        UpdateExpression="SET dashboard_alias = :alias",
        ExpressionAttributeValues={":alias": {"S": "by hand"}},
    )
    again = load_demo_product(database, table)
    assert (again.rows_written, again.identities_written) == (0, 0)
    assert _rows(database, "xmin, ctid, *") == first
    assert _dynamodb().get_item(TableName=table, Key=marked)["Item"]["dashboard_alias"] == {"S": "by hand"}


def test_load__flag_and_segment_changed_by_hand__keeps_both(small: DemoProduct, database: str, table: str) -> None:
    load_demo_product(database, table)
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE feature_flags SET enabled = NOT enabled, updated_at = now()")
        connection.execute("UPDATE segments SET deleted_at = now() WHERE id = 1001")
    changed = _rows(database)
    load_demo_product(database, table)
    assert _rows(database) == changed


@pytest.mark.slow
def test_load__table_forgotten_by_a_restart__writes_identities_alone(
    small: DemoProduct, database: str, table: str
) -> None:
    load_demo_product(database, table)
    _dynamodb().delete_table(TableName=table)
    again = load_demo_product(database, table)
    assert (again.rows_written, again.identities_written) == (0, 60)
    assert _dynamodb().describe_table(TableName=table)["Table"]["ItemCount"] == 60


@pytest.mark.slow
def test_load__interrupted_before__completes_the_identities(small: DemoProduct, database: str, table: str) -> None:
    load_demo_product(database, table)
    client = _dynamodb()
    for identity in small.identities[::2]:
        client.delete_item(TableName=table, Key=_a_key_of(identity))
    load_demo_product(database, table)
    found = ["Item" in client.get_item(TableName=table, Key=_a_key_of(identity)) for identity in small.identities]
    assert found == [True] * 60


@pytest.mark.slow
def test_load__watched__hears_rows_then_identities(small: DemoProduct, database: str, table: str) -> None:
    heard: list[tuple[str, int, int]] = []
    load_demo_product(database, table, progress=lambda *event: heard.append(event))
    rows, identities = heard[: len(_ALL)], heard[len(_ALL) :]
    total = rows[-1][2]
    assert rows[:5] == [("rows", done, total) for done in (4, 12, 28, 82, 88)]
    assert rows == sorted(rows)
    assert rows[-1] == ("rows", total, total)
    assert identities == [
        ("identities", 25, 60),
        ("identities", 50, 60),
        ("identities", 60, 60),
    ]
