"""A small product in stores of its own: what a test fills, materialises and looks at."""

import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import pytest
from dagster._core.storage.defs_state.base import set_defs_state_storage
from psycopg.types.json import Jsonb

from analytics_pipeline.config import Settings
from analytics_pipeline.demo.dynamodb import identities_table
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.connection import connect
from analytics_pipeline.resources.kept_sessions import kept_sessions
from analytics_pipeline.resources.landing import LandingZone, landing_zone
from analytics_pipeline.resources.postgres import Postgres, postgres
from tests import resolved
from tests.databases import Databases, databases

ORGANISATION, PROJECT, ENVIRONMENT = 1, 10, 100
KEY = "env-key-100"


@cache
def _dynamodb(endpoint: str) -> Any:
    """Made once for each server: a client reads its service's model, which takes longer than a request."""
    return boto3.resource("dynamodb", endpoint_url=endpoint)


@cache
def _dynamodb_client(endpoint: str) -> Any:
    return boto3.client("dynamodb", endpoint_url=endpoint)


def today() -> date:
    return datetime.now(timezone.utc).date()


def condition(operator: str, trait: str, value: Any) -> list[dict[str, Any]]:
    """Rules of one condition, as the product stores them."""
    return [{"type": "ALL", "rules": [], "conditions": [{"operator": operator, "property": trait, "value": value}]}]


def document(identifier: str, environment_key: str = KEY, **traits: Any) -> dict[str, Any]:
    """An identity document in plain Python values."""
    return {
        "composite_key": f"{environment_key}_{identifier}",
        "environment_api_key": environment_key,
        "identifier": identifier,
        "identity_traits": [{"trait_key": key, "trait_value": value} for key, value in traits.items()],
        "system_traits": None,
        "django_id": None,
    }


@dataclass(frozen=True)
class Product:
    """One organisation with the feature on; more can be added. All stores are empty and belong to the test alone."""

    settings: Settings
    clickhouse: ClickHouse
    table: str

    @property
    def postgres(self) -> Postgres:
        return postgres(self.settings)

    @property
    def landing(self) -> LandingZone:
        return landing_zone(self.settings)

    def execute(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run a statement of the product itself, e.g. a change of its data."""
        with self.postgres.connect() as connection:
            cursor = connection.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def add_organisation(self, organisation: int = ORGANISATION, *, enabled: bool = True) -> None:
        self.execute("INSERT INTO organisations VALUES (%s, %s)", organisation, f"Organisation {organisation}")
        self.set_flag(organisation, enabled=enabled)

    def set_flag(self, organisation: int, *, enabled: bool) -> None:
        self.execute(
            "INSERT INTO feature_flags (name, scope, enabled) VALUES ('segment_membership_inspection', %s, %s)"
            " ON CONFLICT (name, scope) DO UPDATE SET enabled = excluded.enabled",
            f"organisation:{organisation}",
            enabled,
        )

    def add_project(self, project: int = PROJECT, organisation: int = ORGANISATION) -> None:
        self.execute("INSERT INTO projects VALUES (%s, %s, %s)", project, organisation, f"Project {project}")

    def add_environment(
        self, environment: int = ENVIRONMENT, project: int = PROJECT, key: str = KEY, name: str = "Production"
    ) -> None:
        self.execute("INSERT INTO environments VALUES (%s, %s, %s, %s)", environment, project, key, name)

    def add_segment(self, segment: int, rules: Sequence[Mapping[str, Any]], project: int = PROJECT) -> None:
        self.execute(
            "INSERT INTO segments (id, project_id, name, rules) VALUES (%s, %s, %s, %s)",
            segment,
            project,
            f"Segment {segment}",
            Jsonb(list(rules)),
        )

    def put(self, *documents: Mapping[str, Any]) -> None:
        """Write identity documents into DynamoDB."""
        with _dynamodb(os.environ["AWS_ENDPOINT_URL"]).Table(self.table).batch_writer() as batch:
            for item in documents:
                batch.put_item(Item=item)

    def remove(self, identifier: str, environment_key: str = KEY) -> None:
        key = {"composite_key": {"S": f"{environment_key}_{identifier}"}}
        _dynamodb_client(os.environ["AWS_ENDPOINT_URL"]).delete_item(TableName=self.table, Key=key)

    def recreate_identities_table(self, projection: Mapping[str, Any]) -> None:
        """Empty the table and give its index another projection, which DynamoDB cannot change."""
        client = _dynamodb_client(os.environ["AWS_ENDPOINT_URL"])
        table = client.describe_table(TableName=self.table)["Table"]
        keys = table["GlobalSecondaryIndexes"][0]["KeySchema"]
        index = {"IndexName": self.settings.identities_index, "KeySchema": keys, "Projection": projection}
        client.delete_table(TableName=self.table)
        client.create_table(
            TableName=self.table,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=table["AttributeDefinitions"],
            KeySchema=table["KeySchema"],
            GlobalSecondaryIndexes=[index],
        )

    def switch_ai_usage(self, *, on: bool, flag: bool = True) -> None:
        """Save the setting as the product's admin page does, and set the feature flag."""
        self.execute(
            "INSERT INTO application_settings (id, use_clickhouse_for_analytics) VALUES (1, %s) ON CONFLICT (id)"
            " DO UPDATE SET use_clickhouse_for_analytics = excluded.use_clickhouse_for_analytics, updated_at = now()",
            on,
        )
        self.execute(
            "INSERT INTO feature_flags (name, scope, enabled) VALUES ('ai_events_backfill_to_ch', 'global', %s)"
            " ON CONFLICT (name, scope) DO UPDATE SET enabled = excluded.enabled",
            flag,
        )

    def add_chat(self, timestamp: datetime, user: int = 1, **columns: Any) -> None:
        """A question to the AI chat."""
        self._add_event("ai_duo_chat_events", {"timestamp": timestamp, "user_id": user, "event": 1, **columns})

    def add_suggestion(self, timestamp: datetime, user: int = 1, event: int = 2, **columns: Any) -> None:
        """A code suggestion event; 2 is shown, 3 accepted, 4 rejected."""
        row = {"timestamp": timestamp, "user_id": user, "event": event, **columns}
        self._add_event("ai_code_suggestion_events", row)

    def _add_event(self, relation: str, row: Mapping[str, Any]) -> None:
        values = [Jsonb(value) if name == "payload" else value for name, value in row.items()]
        places = ", ".join(["%s"] * len(values))
        self.execute(f"INSERT INTO {relation} ({', '.join(row)}) VALUES ({places})", *values)

    def materialise(
        self,
        *assets: str,
        day: date | None = None,
        tags: Mapping[str, str] | None = None,
        checks: bool = False,
        **config: Any,
    ) -> dg.ExecuteInProcessResult:
        """Materialise the assets (all when none is named) through Dagster; `config` goes to each of them.

        Of their checks, those run that stop what comes after them; the others with `checks`.
        """
        names = assets or ("raw_identities", "identity_snapshots", "segment_counts")
        return resolved.run(
            resolved.instance(),
            [dg.AssetKey(name) for name in names],
            checks=checks,
            partition_key=None if tags else (day or today()).isoformat(),
            tags=tags,
            run_config={"ops": {name: {"config": config} for name in names if config}},
        )

    def check(self, asset: str, check: str) -> dg.ExecuteInProcessResult:
        """Execute one asset check by itself."""
        return resolved.run_check(resolved.instance(), dg.AssetCheckKey(dg.AssetKey(asset), check))

    def snapshot(self, day: date | None = None) -> dict[tuple[str, str], dict[str, Any]]:
        """The day's live identities: (environment key, identifier) to traits."""
        rows = self.clickhouse.query(
            "SELECT environment_id, identifier, toJSONString(traits) FROM identities FINAL"
            " WHERE snapshot_date = {day:Date}",
            day=day or today(),
        )
        return {(key, identifier): json.loads(traits) for key, identifier, traits in rows}

    def history(self, day: date | None = None) -> dict[tuple[int, int], tuple[int | None, str]]:
        """The day's counts in ClickHouse: (segment, environment) to (count, status)."""
        rows = self.clickhouse.query(
            "SELECT segment_id, environment_id, count, status FROM segment_counts FINAL WHERE date = {day:Date}",
            day=day or today(),
        )
        return {(segment, environment): (count, status) for segment, environment, count, status in rows}

    def current(self) -> dict[tuple[int, int], tuple[int | None, str]]:
        """The current counts in Postgres: (segment, environment) to (count, status)."""
        rows = self.execute(
            "SELECT segment_id, environment_id, count, status FROM analytics_pipeline.segment_membership_counts"
        )
        return {(segment, environment): (count, status) for segment, environment, count, status in rows}

    def loads(self, day: date | None = None) -> dict[str, tuple[str, int | None]]:
        """The day's ledger: environment key to (status, rows)."""
        rows = self.execute(
            "SELECT environment_key, status, rows FROM analytics_pipeline.identity_loads WHERE snapshot_date = %s",
            day or today(),
        )
        return {key: (status, count) for key, status, count in rows}

    def tables(self) -> set[str]:
        """All tables of the ClickHouse database: leftover staging tables would show here."""
        rows = self.clickhouse.query("SELECT name FROM system.tables WHERE database = currentDatabase()")
        return {name for (name,) in rows}


def failure_text(result: dg.ExecuteInProcessResult) -> str:
    """What the operator reads of a failed run."""
    texts = []
    for event in result.get_step_failure_events():
        data = event.step_failure_data
        description = data.user_failure_data.description if data.user_failure_data else None
        texts.append(description or data.error_display_string)
    return "\n".join(texts)


@pytest.fixture(autouse=True)
def no_instance_of_another_test() -> Iterator[None]:
    """Dagster loads definitions with a storage of the instance that was entered last, also of one that has gone since.

    Contexts of sensors and schedules are left when they are collected, so that one may be left after its instance.
    """
    with set_defs_state_storage(None):
        yield


@pytest.fixture(scope="session")
def stores(stack_environment: Mapping[str, str]) -> Iterator[Databases]:
    with databases(stack_environment) as made:
        yield made


@contextmanager
def new_product(stores: Databases, landing: Path, exported: pytest.MonkeyPatch) -> Iterator[Product]:
    """Migrated stores and an empty source, exported as the environment; given back at the end."""
    table = f"test_{uuid.uuid4().hex[:12]}"
    with stores.lent() as addresses:
        own = {**addresses, "IDENTITIES_TABLE": table, "LANDING_URL": landing.as_uri()}
        for variable, value in own.items():
            exported.setenv(variable, value)
        settings = Settings.load()
        with connect(settings, Tag("tests", "look")) as clickhouse:
            # The embedded AWS has made it when it answers: nobody has to wait.
            _dynamodb_client(stores.environment["AWS_ENDPOINT_URL"]).create_table(**identities_table(table))
            yield Product(settings, clickhouse, table)


@contextmanager
def shared_product(environment: Mapping[str, str], stores: Databases, landing: Path) -> Iterator[Product]:
    """The same for several tests that leave each other alone; exported while it lasts."""
    with pytest.MonkeyPatch.context() as exported:
        for name, value in environment.items():
            exported.setenv(name, value)
        with new_product(stores, landing, exported) as product:
            yield product


@pytest.fixture
def empty_product(
    environment: Mapping[str, str], stores: Databases, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Product]:
    with new_product(stores, tmp_path / "landing", monkeypatch) as product, kept_sessions():
        yield product


@pytest.fixture
def product(empty_product: Product) -> Product:
    """One organisation, project and environment, and the segment 1: plan is pro."""
    empty_product.add_organisation()
    empty_product.add_project()
    empty_product.add_environment()
    empty_product.add_segment(1, condition("EQUAL", "plan", "pro"))
    return empty_product
