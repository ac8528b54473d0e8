"""The stores as Dagster resources. They hold no addresses: those come from the environment when a run asks for them,

so that no credential is ever part of Dagster's configuration, and an unset one skips the work instead of failing it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from openfeature.client import OpenFeatureClient
from pydantic import Field

from analytics_pipeline.config import Settings
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.connection import connect
from analytics_pipeline.resources.dynamodb import IdentitiesTable, identities_table
from analytics_pipeline.resources.feature_flags import feature_flags
from analytics_pipeline.resources.landing import LandingZone, landing_zone
from analytics_pipeline.resources.postgres import Postgres, postgres


class ClickHouseResource(dg.ConfigurableResource[None]):
    """The ClickHouse database at `CLICKHOUSE_URL`."""

    attempts: int = Field(
        default=5, ge=1, description="How often a statement is tried when the server has a passing trouble."
    )

    @contextmanager
    def connect(self, tag: Tag) -> Iterator[ClickHouse]:
        with connect(Settings.load(), tag, attempts=self.attempts) as clickhouse:
            yield clickhouse


class PostgresResource(dg.ConfigurableResource[None]):
    """The application's Postgres at `DATABASE_URL`."""

    def store(self) -> Postgres:
        return postgres(Settings.load())


class DynamoDBResource(dg.ConfigurableResource[None]):
    """The identities table `IDENTITIES_TABLE`, found through the standard AWS environment."""

    def identities(self) -> IdentitiesTable:
        return identities_table(Settings.load())


class LandingZoneResource(dg.ConfigurableResource[None]):
    """The landing zone at `LANDING_URL`."""

    def zone(self) -> LandingZone:
        return landing_zone(Settings.load())


class FeatureFlagsResource(dg.ConfigurableResource[None]):
    """Feature flags: `FEATURE_FLAG_PROVIDER`, or the source relation `feature_flags`."""

    def client(self) -> OpenFeatureClient:
        settings = Settings.load()
        return feature_flags(settings, postgres(settings))
