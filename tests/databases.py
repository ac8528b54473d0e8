"""Databases of a test's own in both stores, migrated and without rows.

Postgres copies a template. ClickHouse has no templates, and making twenty tables takes it longer than most tests, so
its databases go from test to test: what a test wrote into is made anew, the rest stays.
"""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeAlias
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

from analytics_pipeline.config import Settings
from analytics_pipeline.migrations import migrate
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.connection import connect
from analytics_pipeline.resources.clickhouse.names import quoted
from analytics_pipeline.resources.postgres import postgres
from analytics_pipeline.resources.sql_files import sql_file

# What a database consists of: tables with their definitions, and names of the parts in which rows are.
_Definitions: TypeAlias = dict[str, str]
_Stamps: TypeAlias = dict[str, str]
_Parts: TypeAlias = dict[str, list[str]]


@dataclass(frozen=True)
class _ClickHouseDatabase:
    """As it was made. `stamps` tell for less than definitions whether its tables are the same; None: not yet.

    A stamp has the second of the last change, so it says nothing before that is over.
    """

    name: str
    definitions: _Definitions
    parts: _Parts
    stamps: _Stamps | None = None


@dataclass(frozen=True)
class Databases:
    """Makes them on one stack. `free` are ClickHouse's that no test uses at the moment."""

    environment: Mapping[str, str]
    template: str
    postgres: psycopg.Connection
    clickhouse: ClickHouse
    free: list[_ClickHouseDatabase] = field(default_factory=list)

    @contextmanager
    def lent(self) -> Iterator[Mapping[str, str]]:
        """A database in each store, as environment variables that lead there."""
        with _created(self.postgres, self.template) as name:
            database = self.free.pop() if self.free else self._new()
            try:
                yield {
                    "DATABASE_URL": _at(self.environment["DATABASE_URL"], name),
                    "CLICKHOUSE_URL": _at(self.environment["CLICKHOUSE_URL"], database.name),
                }
            finally:
                self._take_back(database)

    def _new(self) -> _ClickHouseDatabase:
        name = f"test_{uuid.uuid4().hex[:12]}"
        self.clickhouse.execute(f"CREATE DATABASE {quoted(name)} ENGINE = Atomic")
        for table, definition in _definitions(self.clickhouse, self.template).items():
            self.clickhouse.execute(definition.replace(self.template, name))
            if table.startswith("schema_versions"):
                self.clickhouse.execute(
                    f"INSERT INTO {quoted(name)}.{quoted(table)} SELECT * FROM {quoted(self.template)}.{quoted(table)}"
                )
        _, _, parts = _state(self.clickhouse, name)
        return _ClickHouseDatabase(name, _definitions(self.clickhouse, name), parts)

    def _take_back(self, database: _ClickHouseDatabase) -> None:
        """Empty it for the next test, or drop it where it is not as it was made, or somebody still works in it."""
        touched = _touched(self.clickhouse, database)
        if touched is None:
            self.clickhouse.execute(f"DROP DATABASE {quoted(database.name)} SYNC")
            return
        database, tables = touched
        for table, parts in tables.items():
            name = f"{quoted(database.name)}.{quoted(table)}"
            if any(part.startswith("mutation_") for part in parts):
                self.clickhouse.execute(f"DROP TABLE {name} SYNC")
                self.clickhouse.execute(database.definitions[table])
                database = replace(database, stamps=None)
            else:
                # Of a mutation it would leave a trace, and takes half as long.
                self.clickhouse.execute(f"TRUNCATE TABLE {name} SYNC")
        self.free.append(database)


@contextmanager
def databases(environment: Mapping[str, str]) -> Iterator[Databases]:
    """Migrate a template in both stores, which takes a second, and make databases like it."""
    with (
        psycopg.connect(environment["DATABASE_URL"], autocommit=True) as server,
        _exported(environment),
        connect(Settings.load(), Tag("tests", "database")) as clickhouse,
        _created(server, "template1") as template,
    ):
        clickhouse.execute(f"CREATE DATABASE {quoted(template)} ENGINE = Atomic")
        own = {name: _at(environment[name], template) for name in ("DATABASE_URL", "CLICKHOUSE_URL")}
        with _exported(own):
            settings = Settings.load()
            migrate(settings)
            with postgres(settings).connect() as connection:
                connection.execute(sql_file("analytics_pipeline.demo", "schema.sql"))
        yield Databases(environment, template, server, clickhouse)


@contextmanager
def _created(server: psycopg.Connection, template: str) -> Iterator[str]:
    """A Postgres database, dropped at the end."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    # Copying its files takes half of what copying each page through the log does, and dropping them a third.
    copied = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
    server.execute(copied.format(sql.Identifier(name), sql.Identifier(template)))
    try:
        yield name
    finally:
        server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def _exported(variables: Mapping[str, str]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield


def _at(url: str, database: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


def _definitions(clickhouse: ClickHouse, database: str) -> _Definitions:
    """Statements that create its tables and then its views."""
    rows = clickhouse.query(
        "SELECT name, create_table_query FROM system.tables WHERE database = {database:String}"
        " ORDER BY engine = 'View', name",
        database=database,
    )
    return dict(rows)


# Asked at once, because three questions cost half as much again.
_STATE = """
SELECT 'working' AS kind, '' AS name, '' AS stamp, [toString(count())] AS parts
FROM system.processes WHERE current_database = {database:String}
UNION ALL
SELECT 'table', name, if(metadata_modification_time < now(), format('{} {}', uuid, metadata_modification_time), ''), []
FROM system.tables WHERE database = {database:String}
UNION ALL
SELECT 'parts', table, '', arraySort(groupArray(part)) FROM (
    SELECT table, name AS part FROM system.parts WHERE database = {database:String}
    UNION ALL
    SELECT table, mutation_id FROM system.mutations WHERE database = {database:String}
) GROUP BY table
"""


def _state(clickhouse: ClickHouse, database: str) -> tuple[bool, _Stamps, _Parts]:
    """Whether somebody works there; its tables; names of their parts, also of merged and dropped ones and mutations."""
    rows = clickhouse.query(_STATE, database=database)
    return (
        ["0"] not in [parts for kind, _, _, parts in rows if kind == "working"],
        {name: stamp for kind, name, stamp, _ in rows if kind == "table"},
        {name: parts for kind, name, _, parts in rows if kind == "parts"},
    )


def _touched(clickhouse: ClickHouse, database: _ClickHouseDatabase) -> tuple[_ClickHouseDatabase, _Parts] | None:
    """The database with its stamps, and the tables that a test wrote into with their parts.

    None where it changed more than rows, or somebody still works there.
    """
    is_in_use, stamps, parts = _state(clickhouse, database.name)
    if database.stamps is None:
        is_same = _definitions(clickhouse, database.name) == database.definitions
    else:
        is_same = stamps == database.stamps
    touched = {
        table: parts.get(table, []) for table in database.definitions if parts.get(table) != database.parts.get(table)
    }
    if is_in_use or not is_same or any(table.startswith("schema_versions") for table in touched):
        return None
    return replace(database, stamps=None if "" in stamps.values() else stamps), touched
