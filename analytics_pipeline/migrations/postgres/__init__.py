"""Schema `analytics_pipeline` in the ledgers' Postgres, migrated by Alembic. Nothing outside it is touched."""

from functools import partial
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import NullPool

from analytics_pipeline.resources.postgres import SCHEMA, Postgres

_MIGRATION_SECONDS = 3_600


def migrate(postgres: Postgres) -> list[str]:
    """Upgrade to the newest revision; returns the revisions that were applied, oldest first."""
    before = applied(postgres)
    config = _config()
    with _engine(postgres).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return [revision for revision in revisions() if revision not in before]


def revisions() -> list[str]:
    """All revisions, oldest first."""
    return [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()][::-1]


def applied(postgres: Postgres) -> list[str]:
    """The applied revisions, oldest first; changes nothing. A last one that is unknown here is a newer version's."""
    with _engine(postgres).connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table_schema": SCHEMA})
        current = context.get_current_revision()
    known = revisions()
    if current is not None and current not in known:
        return [*known, current]
    return known[: known.index(current) + 1] if current else []


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    return config


def _engine(postgres: Postgres) -> Engine:
    # Our own connections: the same URLs are understood, and the same errors say what is wrong. What they lock is ours.
    creator = partial(postgres.ledgers.open, statement_seconds=_MIGRATION_SECONDS)
    return create_engine("postgresql+psycopg://", creator=creator, poolclass=NullPool)
