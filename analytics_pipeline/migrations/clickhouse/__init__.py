"""ClickHouse schema: numbered scripts in two phases, each recorded in a table of its own.

`pre` (tables) runs before a deploy, `post` (views and aggregates) after it; a phase never makes the other look applied.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from clickhouse_migrations.connection import Connection
from clickhouse_migrations.migration import Migration, MigrationStorage
from clickhouse_migrations.migrator import Migrator, StatusRow
from clickhouse_migrations.substitution import substitute

from analytics_pipeline.migrations.clickhouse import takeover
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.names import quoted

Phase = Literal["pre", "post"]
PHASES: tuple[Phase, ...] = ("pre", "post")


@dataclass(frozen=True)
class Script:
    """One migration: its file name and `applied`, `pending`, `md5-mismatch` (edited since) or `unknown` (file gone)."""

    phase: Phase
    name: str
    state: str
    applied_at: datetime | None


class _TaggedConnection(Connection):  # type: ignore[misc]
    """The migration library on our own client, so that its statements are tagged and retried like all others."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    def command(self, statement: str, log_statement: str | None = None) -> None:
        self._clickhouse.execute(statement)

    def query(self, statement: str) -> list[dict[str, Any]]:
        return self._clickhouse.query_named(statement)

    def insert(self, table: str, rows: list[dict[str, Any]]) -> None:
        columns = list(rows[0])
        self._clickhouse.insert_rows(table.strip("`"), columns, [[row[column] for column in columns] for row in rows])

    def __enter__(self) -> "_TaggedConnection":
        return self

    def __exit__(self, *_: object) -> None:
        return None


def variables(cluster: str | None) -> Mapping[str, str]:
    """Values of the scripts' placeholders: with a cluster, DDL for every replica and Replicated engines."""
    return {
        "ON_CLUSTER": f"ON CLUSTER {quoted(cluster)}" if cluster else "",
        "REPLICATED": "Replicated" if cluster else "",
    }


def rendered(phase: Phase, cluster: str | None) -> dict[str, str]:
    """The phase's scripts as they would run, by file name."""
    storage = _storage(phase)
    return {
        name: substitute((storage.storage_dir / name).read_text(), variables(cluster), name)
        for name in sorted(storage.migration_filenames().values())
    }


def migrate(clickhouse: ClickHouse, phase: Phase, before_takeover: Callable[[], None] = lambda: None) -> list[str]:
    """Apply the phase's pending scripts in order; returns their file names.

    `before_takeover` is called before tables of figures become tables by month.

    Raises:
        MigrationException: an applied script was edited or has gone.
        TakeoverFailed: a table of figures could not be taken over; nothing of the phase was applied.
    """
    storage = _storage(phase)
    if takeover.SCRIPT in {script.name for script in status(clickhouse, phase) if script.state == "pending"}:
        before_takeover()
        takeover.take_over(clickhouse)
    migrator = _migrator(clickhouse, phase)
    migrator.init_schema(clickhouse.cluster)
    names = storage.migration_filenames()
    applied: list[Migration] = migrator.apply_migration(
        storage.migrations(), multi_statement=True, variables=variables(clickhouse.cluster), sources=names
    )
    return [names[migration.version] for migration in applied]


def status(clickhouse: ClickHouse, phase: Phase) -> list[Script]:
    """Every script of the phase and whether it has been applied; changes nothing."""
    storage = _storage(phase)
    names = storage.migration_filenames()
    if clickhouse.scalar(f"EXISTS TABLE {_bookkeeping(phase)}"):
        rows: list[StatusRow] = _migrator(clickhouse, phase).migration_status(storage.migrations())
        return [Script(phase, names.get(row.version, f"{row.version:03d}"), row.state, row.applied_at) for row in rows]
    return [Script(phase, name, "pending", None) for _, name in sorted(names.items())]


def _storage(phase: Phase) -> MigrationStorage:
    return MigrationStorage(Path(__file__).parent / phase)


def _bookkeeping(phase: Phase) -> str:
    return f"schema_versions_{phase}"


def _migrator(clickhouse: ClickHouse, phase: Phase) -> Migrator:
    return Migrator(
        _TaggedConnection(clickhouse.tagged(f"migrate_{phase}")),
        migrations_table=_bookkeeping(phase),
        migrations_table_engine="ReplicatedMergeTree" if clickhouse.cluster else None,
    )
