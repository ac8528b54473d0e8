"""The stand-in for AWS writes pages of items in its own way: they must read as DynamoDB's do."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_TABLE = "every_type"
_ITEM: dict[str, Any] = {
    "key": {"S": 'quote " backslash \\ snowman ☃ newline \n'},
    "number": {"N": "3.14159265358979323846"},
    "binary": {"B": b"\x00\xff"},
    "bool": {"BOOL": False},
    "null": {"NULL": True},
    "strings": {"SS": ["a", "b"]},
    "numbers": {"NS": ["1", "2.5"]},
    "binaries": {"BS": [b"\x01", b"\x02"]},
    "list": {"L": [{"M": {"trait_key": {"S": "k"}, "trait_value": {"N": "1"}}}, {"L": []}, {"B": b"\x03"}]},
    "map": {"M": {"empty": {"M": {}}, "S": {"S": "a key like a type"}, "Items": {"S": ""}}},
}


@pytest.fixture
def client(environment: Mapping[str, str]) -> Iterator["DynamoDBClient"]:
    dynamodb = boto3.client("dynamodb")
    dynamodb.create_table(
        TableName=_TABLE,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "key", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "key", "KeyType": "HASH"}],
    )
    yield dynamodb
    dynamodb.delete_table(TableName=_TABLE)


def test_pages__every_type_of_value__read_back_as_written(client: "DynamoDBClient") -> None:
    client.put_item(TableName=_TABLE, Item=_ITEM)
    scanned = client.scan(TableName=_TABLE, ReturnConsumedCapacity="TOTAL")
    queried = client.query(
        TableName=_TABLE, KeyConditionExpression="#k = :k", ExpressionAttributeNames={"#k": "key"},
        ExpressionAttributeValues={":k": _ITEM["key"]},
    )  # fmt: skip
    assert scanned["Items"] == queried["Items"] == [_ITEM]
    assert (scanned["Count"], scanned["ScannedCount"]) == (1, 1)
    assert scanned["ConsumedCapacity"] == {"TableName": _TABLE, "CapacityUnits": 1.0}
    assert client.get_item(TableName=_TABLE, Key={"key": _ITEM["key"]})["Item"] == _ITEM


def test_pages__limited__continue_where_the_last_one_ended(client: "DynamoDBClient") -> None:
    keys = [f"key{number}" for number in range(7)]
    for key in keys:
        client.put_item(TableName=_TABLE, Item={"key": {"S": key}})
    pages = list(client.get_paginator("scan").paginate(TableName=_TABLE, PaginationConfig={"PageSize": 3}))
    assert [[item["key"]["S"] for item in page["Items"]] for page in pages] == [keys[:3], keys[3:6], keys[6:]]


def test_errors__missing_table__have_their_aws_code(client: "DynamoDBClient") -> None:
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.scan(TableName="missing")


def test_environment__shell_has_a_profile_and_files_of_its_own__they_do_not_matter(
    stack_environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.write_text("[profile work]\nendpoint_url = http://127.0.0.1:1\nregion = us-gov-west-1\n")
    shell = {"AWS_PROFILE": "work", "AWS_DEFAULT_PROFILE": "gone", "AWS_CONFIG_FILE": str(config)}
    for name, value in {**shell, **stack_environment}.items():
        monkeypatch.setenv(name, value)

    client = boto3.session.Session().client("dynamodb")

    assert client.meta.region_name == "eu-west-1"
    assert client.list_tables()["ResponseMetadata"]["HTTPStatusCode"] == 200
