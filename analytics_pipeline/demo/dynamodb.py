"""The demo product's identities table in DynamoDB, with the keys, the index and the documents that Flagsmith uses."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeSerializer
from botocore.exceptions import ClientError

from analytics_pipeline.demo.identities import Identity, TraitValue

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import WriteRequestUnionTypeDef

INDEX = "environment_api_key-identifier-index"

_BATCH = 25  # what BatchWriteItem takes at most
_THREADS = 3  # one waits for the server, the others serialise; more only contend for the interpreter
_ATTEMPTS = 8
_FIRST_PAUSE_SECONDS = 0.05


def identities_held(client: "DynamoDBClient", table: str) -> int | None:
    """How many identities the table holds; None when there is no such table.

    AWS refreshes this number every six hours. The embedded engine counts, and nothing else is ever written to.
    """
    try:
        return client.describe_table(TableName=table)["Table"].get("ItemCount", 0)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        return None


def identities_table(table: str) -> dict[str, Any]:
    """The request that makes a table for identities."""
    return {
        "TableName": table,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            {"AttributeName": name, "AttributeType": "S"}
            for name in ("composite_key", "environment_api_key", "identifier")
        ],
        "KeySchema": [{"AttributeName": "composite_key", "KeyType": "HASH"}],
        "GlobalSecondaryIndexes": [
            {
                "IndexName": INDEX,
                "KeySchema": [
                    {"AttributeName": "environment_api_key", "KeyType": "HASH"},
                    {"AttributeName": "identifier", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    }


def create_identities_table(client: "DynamoDBClient", table: str) -> None:
    client.create_table(**identities_table(table))
    client.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1, "MaxAttempts": 30})


def write_identities(
    client: "DynamoDBClient",
    table: str,
    identities: Sequence[Identity],
    advance: Callable[[int], None] = lambda written: None,
) -> None:
    """Put every identity; one that is there already is replaced. `advance` hears how many are written so far."""
    batches = [identities[start : start + _BATCH] for start in range(0, len(identities), _BATCH)]
    written = 0
    with ThreadPoolExecutor(_THREADS) as pool:
        for size in pool.map(lambda batch: _write_batch(client, table, batch), batches):
            written += size
            advance(written)


def document(identity: Identity) -> dict[str, Any]:
    """The stored form of an identity. One without a profile at all lacks the attribute; an empty profile keeps it."""
    stored: dict[str, Any] = {
        "composite_key": identity.composite_key,
        "environment_api_key": identity.environment_api_key,
        "identifier": identity.identifier,
        "identity_uuid": identity.identity_uuid,
        "created_date": identity.created_date,
        "identity_features": [],
        "system_traits": _storable_map(identity.system_traits),
        "django_id": identity.django_id,
        "dashboard_alias": identity.dashboard_alias,
    }
    if identity.traits is not None:
        stored["identity_traits"] = [
            {"trait_key": key, "trait_value": _storable(value)} for key, value in identity.traits.items()
        ]
    return stored


def _storable_map(traits: dict[str, TraitValue] | None) -> dict[str, Any] | None:
    return None if traits is None else {key: _storable(value) for key, value in traits.items()}


def _storable(value: TraitValue) -> Any:
    # The shortest text that reads back as the same float: its binary expansion has more digits than DynamoDB keeps.
    return Decimal(repr(value)) if isinstance(value, float) else value


def _write_batch(client: "DynamoDBClient", table: str, identities: Sequence[Identity]) -> int:
    serialize = TypeSerializer().serialize
    waiting: Sequence[WriteRequestUnionTypeDef] = [
        {"PutRequest": {"Item": serialize(document(identity))["M"]}} for identity in identities
    ]
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_FIRST_PAUSE_SECONDS * 2**attempt)
        answer = client.batch_write_item(RequestItems={table: waiting})
        waiting = answer["UnprocessedItems"].get(table, [])
        if not waiting:
            return len(identities)
    raise RuntimeError(
        f"DynamoDB table {table} left {len(waiting)} identities unwritten after {_ATTEMPTS} attempts. "
        "Load the demo again: what is written stays, the rest is added."
    )
