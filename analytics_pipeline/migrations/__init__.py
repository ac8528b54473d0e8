"""Both schemas' migrations as one plan: Postgres and ClickHouse `pre` before a deploy, ClickHouse `post` after it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from analytics_pipeline.config import Settings
from analytics_pipeline.errors import Refused
from analytics_pipeline.migrations import clickhouse as clickhouse_migrations
from analytics_pipeline.migrations import postgres as postgres_migrations
from analytics_pipeline.migrations.clickhouse import PHASES, Phase
from analytics_pipeline.migrations.clickhouse.retention import apply_retention
from analytics_pipeline.migrations.clickhouse.takeover import TABLES
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.clickhouse.connection import connect
from analytics_pipeline.resources.postgres import Postgres, postgres

Store = Literal["postgres", "clickhouse"]
# Of those who write figures; phase `post` may give them other tables, so they wait for it.
FIGURES_LEASES = ("reporting_rollups", "ai_usage_daily")
# A migration that takes longer than this is broken.
_PATIENCE = timedelta(minutes=10)


class NewerSchema(Refused):
    """A newer version has migrated the stores; this one must not touch them."""

    def __init__(self, unknown: Sequence["Migration"]) -> None:
        names = ", ".join(f"{migration.store}'s {migration.name}" for migration in unknown)
        super().__init__(
            f"The schema is newer than this version of analytics-pipeline, which does not know {names}. Nothing was"
            " applied. Run the version that applied it, or a later one: analytics-pipeline --version"
        )


@dataclass(frozen=True)
class Migration:
    """One migration and its state: `applied`, `pending`, `md5-mismatch` (edited since) or `unknown` (file gone)."""

    store: Store
    phase: Phase
    name: str
    state: str


def status(settings: Settings, phases: Sequence[Phase] = PHASES) -> list[Migration]:
    """Every migration of the configured stores in the order in which they run; changes nothing."""
    found: list[Migration] = []
    if settings.database_url and "pre" in phases:
        store = postgres(settings)
        applied = postgres_migrations.applied(store)
        known = postgres_migrations.revisions()
        found += [_postgres(name, "applied" if name in applied else "pending") for name in known]
        found += [_postgres(name, "unknown") for name in applied if name not in known]
    if settings.clickhouse_url:
        with connect(settings, Tag("migrations", "status")) as clickhouse:
            found += [
                Migration("clickhouse", phase, script.name, script.state)
                for phase in phases
                for script in clickhouse_migrations.status(clickhouse, phase)
            ]
    return found


def migrate(
    settings: Settings, phases: Sequence[Phase] = PHASES, progress: Callable[[Migration], None] = lambda _: None
) -> list[Migration]:
    """Apply what is pending in the configured stores, one run at a time; returns what was applied.

    Raises:
        LeaseHeld: another migration is running, or a run did not finish writing figures within ten minutes.
        NewerSchema: a newer version has applied migrations that this one does not have.
        MigrationException: an applied ClickHouse script was edited.
    """
    if unknown := [migration for migration in status(settings, phases) if migration.state == "unknown"]:
        raise NewerSchema(unknown)
    applied: list[Migration] = []
    if settings.database_url is None:
        steps = _migrate_clickhouse(settings, phases)
    else:
        steps = _migrate_all(settings, postgres(settings), phases)
    for migration in steps:
        progress(migration)
        applied.append(migration)
    return applied


def _migrate_all(settings: Settings, store: Postgres, phases: Sequence[Phase]) -> Iterator[Migration]:
    with ExitStack() as held:
        held.enter_context(store.lease("migrations"))
        if "pre" in phases:
            yield from (_postgres(name, "applied") for name in postgres_migrations.migrate(store))
        if "post" in phases:
            for writer in FIGURES_LEASES:
                held.enter_context(store.lease(writer, patience=_PATIENCE))
        yield from _migrate_clickhouse(settings, phases, lambda: _forget_checksums(store))


def _migrate_clickhouse(
    settings: Settings, phases: Sequence[Phase], before_takeover: Callable[[], None] = lambda: None
) -> Iterator[Migration]:
    if settings.clickhouse_url is None:
        return
    with connect(settings, Tag("migrations", "apply")) as clickhouse:
        for phase in phases:
            for name in clickhouse_migrations.migrate(clickhouse, phase, before_takeover):
                yield Migration("clickhouse", phase, name, "applied")
        if "pre" in phases:
            apply_retention(clickhouse, settings)


def _forget_checksums(store: Postgres) -> None:
    """The ledger's checksums of figures are of tables by day: a day by month is told by its version."""
    with store.ledgers.connect() as connection:
        connection.execute(_FORGET_CHECKSUMS, {"tables": [table.name for table in TABLES]})


_FORGET_CHECKSUMS = "UPDATE analytics_pipeline.held_days SET checksum = NULL WHERE relation = ANY(%(tables)s)"


def _postgres(name: str, state: str) -> Migration:
    return Migration("postgres", "pre", name, state)
