"""Readers of an environment's identity documents."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from analytics_pipeline.flows.identities.attributes import AttributeValue
from analytics_pipeline.resources.dynamodb import IdentitiesTable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import QueryInputTypeDef


class IdentityReader(Protocol):
    """Yields all documents of one environment as they are stored, in DynamoDB's JSON, a page at a time."""

    def pages(self, environment_key: str) -> Iterator[list[msgspec.Raw]]: ...


class _Page(msgspec.Struct, gc=False):
    Items: list[msgspec.Raw]
    LastEvaluatedKey: dict[str, AttributeValue] | None = None


class QueryReader:
    """Paginated Query on the index that lists an environment's identities; safe to use from several threads.

    boto3 keeps signing, retries and errors; its response parser, the slowest part by far, is bypassed.
    """

    def __init__(self, table: IdentitiesTable) -> None:
        self._table = table
        table.client.meta.events.register("before-parse.dynamodb.Query", _parse_page)

    def pages(self, environment_key: str) -> Iterator[list[msgspec.Raw]]:
        """The environment's documents; an environment without any yields one empty page."""
        query: QueryInputTypeDef = {
            "TableName": self._table.name,
            "IndexName": self._table.index,
            "KeyConditionExpression": "environment_api_key = :environment",
            "ExpressionAttributeValues": {":environment": {"S": environment_key}},
        }
        while True:
            page: _Page = self._table.ask(self._table.client.query, **query)["Page"]  # type: ignore[typeddict-item]
            yield page.Items
            if page.LastEvaluatedKey is None:
                return
            query["ExclusiveStartKey"] = msgspec.to_builtins(page.LastEvaluatedKey)


_DECODER = msgspec.json.Decoder(_Page)


def _parse_page(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    if response_dict["status_code"] == 200:
        customized_response_dict["Page"] = _DECODER.decode(response_dict["body"])
        response_dict["body"] = b"{}"
