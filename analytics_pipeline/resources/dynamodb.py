"""DynamoDB as the flows use it: boto3 with its standard environment, adaptive retries and bounded waits."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from analytics_pipeline.config import NotConfigured, Settings

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True)
class IdentitiesTable:
    """The identities table and the index that lists one environment's identities."""

    client: "DynamoDBClient"
    name: str
    index: str

    def check(self) -> str:
        """Describe the table in a few words.

        Raises:
            BotoCoreError, ClientError: it does not answer or does not exist.
            ValueError: it lacks the index.
        """
        table = self.client.describe_table(TableName=self.name)["Table"]
        if self.index not in [index.get("IndexName") for index in table.get("GlobalSecondaryIndexes", [])]:
            raise ValueError(f"the table {self.name} has no index {self.index}")
        return f"table {self.name} answers, about {table.get('ItemCount', 0):,} items"

    def check_export(self) -> str:
        """Whether the table may be exported, in a few words.

        Raises:
            BotoCoreError, ClientError: it does not answer.
            ValueError: point-in-time recovery is off.
        """
        answer = self.client.describe_continuous_backups(TableName=self.name)["ContinuousBackupsDescription"]
        recovery = answer.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus")
        if recovery != "ENABLED":
            raise ValueError(f"the table {self.name} has point-in-time recovery off, and an export needs it")
        return "point-in-time recovery is on"


def identities_table(settings: Settings) -> IdentitiesTable:
    """The configured table, behind a client of its own (flows hook into its response parsing).

    Raises:
        NotConfigured: `IDENTITIES_TABLE` is not set.
    """
    if settings.identities_table is None:
        raise NotConfigured("dynamodb", "IDENTITIES_TABLE")
    config = Config(
        retries={"mode": "adaptive", "max_attempts": 10},
        connect_timeout=10,
        read_timeout=60,
        max_pool_connections=settings.identity_capture_concurrency,
    )
    client = boto3.session.Session().client("dynamodb", config=config)
    return IdentitiesTable(client, settings.identities_table, settings.identities_index)
