"""The stores of the simulation, from outside: made once, emptied for each history, damaged, restored, looked into."""

import shutil
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import boto3
import clickhouse_connect
import psycopg
from clickhouse_connect.driver.client import Client
from psycopg import sql

from tests.simulation.source import Source, State

OURS = "analytics_pipeline"


@dataclass
class Stores:
    """Postgres and ClickHouse through their own clients."""

    environment: Mapping[str, str]
    postgres: psycopg.Connection
    clickhouse: Client
    tables: tuple[str, ...]
    kept: dict[str, State] = field(default_factory=dict)

    @classmethod
    def connect(cls, environment: Mapping[str, str], tables: tuple[str, ...]) -> "Stores":
        """To the stores of this environment; `tables` are those of ClickHouse that histories fill."""
        clickhouse = clickhouse_connect.get_client(
            dsn=environment["CLICKHOUSE_URL"], interface="http", autogenerate_session_id=False, tz_mode="aware"
        )
        # Days of the simulation are long past.
        clickhouse.command("ALTER TABLE identities REMOVE TTL")
        return cls(environment, psycopg.connect(environment["DATABASE_URL"], autocommit=True), clickhouse, tables)

    def close(self) -> None:
        self.postgres.close()
        self.clickhouse.close()

    def empty(self, landing: Path) -> None:
        """As if nothing had ever been written."""
        tables = sql.SQL(", ").join(sql.Identifier(*name) for name in self._tables("public", OURS))
        self.postgres.execute(sql.SQL("TRUNCATE {} RESTART IDENTITY CASCADE").format(tables))
        self.postgres.execute("TRUNCATE simulated.sessions")
        self.postgres.execute("DROP SCHEMA IF EXISTS kept_ledger CASCADE; DROP SCHEMA IF EXISTS kept_all CASCADE")
        for table in self.staging():
            self.clickhouse.command(f"DROP TABLE `{table}` SYNC")
        for table in self.tables:
            self.clickhouse.command(f"TRUNCATE TABLE {table}")
        table = boto3.resource("dynamodb").Table(self.environment["IDENTITIES_TABLE"])
        for item in table.scan()["Items"]:
            table.delete_item(Key={"composite_key": item["composite_key"]})
        shutil.rmtree(landing, ignore_errors=True)
        self.kept.clear()

    def lose(self, table: str, number: int) -> str | None:
        """The table loses one of its partitions; returns which."""
        found = self.clickhouse.query(
            "SELECT DISTINCT partition_id FROM system.parts WHERE database = currentDatabase() AND active"
            " AND table = {table:String} ORDER BY partition_id",
            parameters={"table": table},
        ).result_rows
        if not found:
            return None
        partition = str(found[number % len(found)][0])
        self.clickhouse.command(f"ALTER TABLE {table} DROP PARTITION ID '{partition}'")
        return partition

    def keep(self, what: str, source: Source) -> None:
        """Make a copy of our schema (`ledger`), or of the whole database (`all`), in place of an earlier one."""
        schema = sql.Identifier(f"kept_{what}")
        self.postgres.execute(sql.SQL("DROP SCHEMA IF EXISTS {0} CASCADE; CREATE SCHEMA {0}").format(schema))
        for name in self._tables(*_schemas(what)):
            copy = sql.SQL("CREATE TABLE {}.{} AS TABLE {}")
            table = sql.Identifier(".".join(name))
            self.postgres.execute(copy.format(schema, table, sql.Identifier(*name)))
        self.kept[what] = deepcopy(source.state)

    def restore(self, what: str, source: Source) -> None:
        """Postgres goes back to the copy: nobody is connected while it does."""
        source.forget_late()
        names = self._tables(*_schemas(what))
        with self.postgres.transaction():
            self.postgres.execute("SET LOCAL session_replication_role = replica")
            tables = sql.SQL(", ").join(sql.Identifier(*name) for name in names)
            self.postgres.execute(sql.SQL("TRUNCATE {} CASCADE").format(tables))
            for name in names:
                kept = sql.Identifier(f"kept_{what}", ".".join(name))
                back = sql.SQL("INSERT INTO {} OVERRIDING SYSTEM VALUE SELECT * FROM {}")
                self.postgres.execute(back.format(sql.Identifier(*name), kept))
        if what == "all":
            source.goes_back_to(self.kept[what])

    def copied_days(self, table: str) -> set[date]:
        """The days of which the ledger says that the table holds them."""
        return {
            day for (day,) in self.ledger("SELECT day FROM analytics_pipeline.source_copies WHERE source = %s", table)
        }

    def staging(self) -> list[str]:
        """Tables that a run works in."""
        rows = self.clickhouse.query(
            "SELECT name FROM system.tables WHERE database = currentDatabase() AND startsWith(name, 'staging_')"
        ).result_rows
        return [str(name) for (name,) in rows]

    def whole(self, table: str) -> str:
        """How the table is read, so that what was replaced or deleted is not there."""
        engine = self.rows(
            "SELECT engine FROM system.tables WHERE database = currentDatabase() AND name = {t:String}", t=table
        )
        return f"{table} FINAL" if "Replacing" in engine[0][0] else table

    def rows(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """All rows of a SELECT of ClickHouse."""
        return [tuple(row) for row in self.clickhouse.query(statement, parameters=parameters).result_rows]

    def ledger(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """All rows of a SELECT of Postgres."""
        return list(self.postgres.execute(statement.encode(), parameters).fetchall())

    def _tables(self, *schemas: str) -> list[tuple[str, str]]:
        rows = self.postgres.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname = ANY(%s) AND tablename <> 'alembic_version'",
            [list(schemas)],
        ).fetchall()
        return [(schema, table) for schema, table in rows]


def _schemas(what: str) -> tuple[str, ...]:
    return ("public", OURS) if what == "all" else (OURS,)
