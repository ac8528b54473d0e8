"""DynamoDB as the flows use it: boto3 with its standard environment, retries and bounded waits."""

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
from botocore.config import Config

from analytics_pipeline.config import NotConfigured, Settings
from analytics_pipeline.resources.patience import Patience

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import GlobalSecondaryIndexDescriptionTypeDef, TableDescriptionTypeDef

T = TypeVar("T")

# For one request with its retries, of which the longest row takes four minutes.
ANSWER_SECONDS = 300.0
# More than captures read at the same time.
WAITING_AT_ONCE = 256
# Attributes that a capture reads of each document; an index that lacks one answers without it and without an error.
ATTRIBUTES = frozenset(
    {"composite_key", "environment_api_key", "identifier", "identity_traits", "system_traits", "django_id"}
)


class UnusableIndex(ValueError):
    """The index is absent, or does not hold all that is read of a document."""


@dataclass(frozen=True)
class IdentitiesTable:
    """The identities table and the index that lists one environment's identities."""

    client: "DynamoDBClient"
    name: str
    index: str
    room: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(WAITING_AT_ONCE))

    def ask(self, operation: Callable[..., T], **request: Any) -> T:
        """The answer to a request, with all of its retries, however it trickles in.

        Raises:
            BotoCoreError, ClientError: it does not answer, or refuses.
            NoAnswer: it has not answered completely in time.
        """
        return Patience(f"DynamoDB (table {self.name})", ANSWER_SECONDS, self.room).wait_for(operation, **request)

    def check(self) -> str:
        """Describe the table in a few words.

        Raises:
            BotoCoreError, ClientError: it does not answer or does not exist.
        """
        return f"table {self.name} answers, about {self._description().get('ItemCount', 0):,} items"

    def check_index(self) -> str:
        """Whether the index holds all that is read of a document, in a few words.

        Raises:
            BotoCoreError, ClientError: the table does not answer or does not exist.
            UnusableIndex: the index is absent or lacks attributes; with what to do.
        """
        table = self._description()
        found = (one for one in table.get("GlobalSecondaryIndexes", []) if one.get("IndexName") == self.index)
        index = next(found, None)
        if index is None:
            raise UnusableIndex(f"The table {self.name} has no index {self.index}. Check IDENTITIES_INDEX.")
        if lacking := sorted(ATTRIBUTES - _projected(table, index)):
            kind = index.get("Projection", {}).get("ProjectionType")
            raise UnusableIndex(
                f"The index {self.index} of the table {self.name} does not hold {', '.join(lacking)} (its projection is"
                f" {kind}), so every identity would lose them. Make an index with the projection ALL and set"
                " IDENTITIES_INDEX to it, or set IDENTITY_READER=export."
            )
        return f"index {self.index} holds all that is read"

    def estimated(self) -> tuple[int, int]:
        """Items and bytes of the table, as DynamoDB counted them within the last six hours."""
        table = self._description()
        return table["ItemCount"], table["TableSizeBytes"]

    def _description(self) -> "TableDescriptionTypeDef":
        return self.ask(self.client.describe_table, TableName=self.name)["Table"]

    def check_export(self) -> str:
        """Whether the table may be exported, in a few words.

        Raises:
            BotoCoreError, ClientError: it does not answer.
            ValueError: point-in-time recovery is off.
        """
        asked = self.ask(self.client.describe_continuous_backups, TableName=self.name)
        answer = asked["ContinuousBackupsDescription"]
        recovery = answer.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus")
        if recovery != "ENABLED":
            raise ValueError(f"the table {self.name} has point-in-time recovery off, and an export needs it")
        return "point-in-time recovery is on"


def _projected(table: "TableDescriptionTypeDef", index: "GlobalSecondaryIndexDescriptionTypeDef") -> frozenset[str]:
    """The attributes that the index answers with; the keys of both always are among them."""
    projection = index.get("Projection", {})
    if projection.get("ProjectionType") == "ALL":
        return ATTRIBUTES
    keys = [key["AttributeName"] for key in [*table.get("KeySchema", []), *index.get("KeySchema", [])]]
    return frozenset([*keys, *projection.get("NonKeyAttributes", [])])


def identities_table(settings: Settings) -> IdentitiesTable:
    """The configured table, behind a client of its own (flows hook into its response parsing).

    Raises:
        NotConfigured: `IDENTITIES_TABLE` is not set.
    """
    if settings.identities_table is None:
        raise NotConfigured("dynamodb", "IDENTITIES_TABLE")
    config = Config(
        # Each request waits for itself: mode "adaptive" lets one throttled environment slow all of them down. Ten
        # retries of one that is throttled take about a minute, of a silent server four.
        retries={"mode": "standard", "max_attempts": 10},
        connect_timeout=10,
        read_timeout=15,
        max_pool_connections=settings.identity_capture_concurrency,
    )
    client = boto3.session.Session().client("dynamodb", config=config)
    return IdentitiesTable(client, settings.identities_table, settings.identities_index)
