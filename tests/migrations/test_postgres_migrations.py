"""Our schema in the application's Postgres: made, remade and removed without touching anything else."""

import uuid
from importlib.resources import files
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy
from alembic import command
from alembic.config import Config
from psycopg import sql

from analytics_pipeline.migrations.postgres import applied, migrate, revisions
from analytics_pipeline.resources.postgres import SCHEMA, Postgres
from analytics_pipeline.resources.sql_files import sql_file

TABLES = [
    "ai_usage_days",
    "alembic_version",
    "api_tokens",
    "check_outcomes",
    "dead_letters",
    "enablements",
    "erased_rows",
    "erasure_key",
    "erasures",
    "event_logs_export_allowlist",
    "event_logs_export_fields",
    "event_logs_export_past",
    "event_logs_gaps",
    "event_logs_scrape_state",
    "export_deliveries",
    "held_days",
    "identity_loads",
    "ingestion_totals",
    "product_event_days",
    "reporting_coverage",
    "segment_membership_counts",
    "segment_refreshes",
    "source_copies",
    "watermarks",
]


def _tables(store: Postgres) -> list[str]:
    rows = store.query(
        "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace('analytics_pipeline') AND relkind = 'r'"
        " ORDER BY relname"
    )
    return [name for (name,) in rows]


def _everything_else(store: Postgres) -> list[tuple[Any, ...]]:
    """Every relation, column, function, type, extension and grant outside our schema."""
    return store.query(
        """
        SELECT 'column', relnamespace::regnamespace::text, relname::text, attname::text, relacl::text
        FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
        WHERE relnamespace <> coalesce(to_regnamespace('analytics_pipeline')::oid, 0)
            AND relnamespace <> 'pg_toast'::regnamespace
        UNION ALL
        SELECT 'function', pronamespace::regnamespace::text, oid::text, proname::text, proacl::text FROM pg_proc
        UNION ALL
        SELECT 'extension', extname::text, extversion, '', '' FROM pg_extension
        UNION ALL
        SELECT 'schema', nspname::text, nspacl::text, '', '' FROM pg_namespace WHERE nspname <> 'analytics_pipeline'
        UNION ALL
        SELECT 'setting', setdatabase::text, setconfig::text, '', '' FROM pg_db_role_setting
        ORDER BY 1, 2, 3, 4
        """
    )


def _downgrade(store: Postgres, revision: str = "base") -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(str(files("analytics_pipeline.migrations.postgres")))))
    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=store.open, poolclass=sqlalchemy.NullPool)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)


def test_applied__nothing_there__is_nothing_and_changes_nothing(store: Postgres) -> None:
    assert applied(store) == []
    assert store.query("SELECT to_regnamespace('analytics_pipeline')") == [(None,)]


def test_migrate__twice__the_second_does_nothing(store: Postgres) -> None:
    assert migrate(store) == revisions()
    assert (_tables(store), applied(store)) == (TABLES, revisions())

    assert migrate(store) == []
    assert (_tables(store), applied(store)) == (TABLES, revisions())


def test_migrate__product_beside_it__nothing_outside_our_schema_changes(store: Postgres) -> None:
    with store.connect() as connection:
        connection.execute(sql_file("analytics_pipeline.demo", "schema.sql"))
        connection.execute("CREATE TABLE alembic_version (version_num text)")
        connection.execute("INSERT INTO alembic_version VALUES ('the application''s own')")
    before = _everything_else(store)

    migrate(store)

    assert _everything_else(store) == before
    assert store.query("SELECT version_num FROM public.alembic_version") == [("the application's own",)]


def test_migrate__role_may_not_create_schemas__uses_the_one_that_an_administrator_made(store: Postgres) -> None:
    role = f"role_{uuid.uuid4().hex[:12]}"
    identifier = sql.Identifier(role)
    with store.connect() as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(identifier))
        connection.execute(sql.SQL("CREATE SCHEMA analytics_pipeline AUTHORIZATION {}").format(identifier))
    try:
        assert migrate(Postgres(store.url.replace("postgres@", f"{role}@"), store.relations)) == revisions()
        owners = store.query("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'analytics_pipeline'")
        assert owners == [(role,)]
    finally:
        with store.connect() as connection:
            connection.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(identifier))


def test_migrate__fails_half_way__leaves_nothing_of_it(store: Postgres) -> None:
    with store.connect() as connection:
        connection.execute("CREATE SCHEMA analytics_pipeline")
        connection.execute("CREATE TABLE analytics_pipeline.dead_letters (mine int)")

    with pytest.raises(sqlalchemy.exc.ProgrammingError, match="already exists") as failure:
        migrate(store)

    assert isinstance(failure.value.orig, psycopg.errors.DuplicateTable)
    assert (_tables(store), applied(store)) == (["dead_letters"], [])


def test_downgrade__to_base__removes_our_tables_and_nothing_else(store: Postgres) -> None:
    before = _everything_else(store)
    migrate(store)

    _downgrade(store)

    assert (_tables(store), applied(store)) == (["alembic_version"], [])
    assert _everything_else(store) == before
    assert migrate(store) == revisions()
    assert _tables(store) == TABLES


@pytest.mark.parametrize("name", ["source_copied_at", "source_swapped_at"])
def test_migrate__coverage_of_either_make__keeps_what_is_recorded(store: Postgres, name: str) -> None:
    """0003 made the column under its new name for a while."""
    migrate(store)
    _downgrade(store, "0004")
    with store.connect() as connection:
        if name != "source_copied_at":
            connection.execute(
                "ALTER TABLE analytics_pipeline.reporting_coverage RENAME source_copied_at TO source_swapped_at"
            )
        connection.execute(
            sql.SQL(
                "INSERT INTO analytics_pipeline.reporting_coverage (account_id, date, timezone, starts_at, ends_at,"
                " registry_version, complete, {}, computed_at, run_id)"
                " VALUES (1, '2026-03-08', 'UTC', now(), now(), 'v', true, '2026-03-09', now(), 'run')"
            ).format(sql.Identifier(name))
        )

    assert migrate(store)[:2] == ["0005", "0006"]

    recorded = store.query("SELECT source_swapped_at::date::text FROM analytics_pipeline.reporting_coverage")
    assert recorded == [("2026-03-09",)]


def test_tables__of_ours__say_what_they_are(store: Postgres) -> None:
    migrate(store)

    silent = store.query(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND obj_description(oid) IS NULL"
        " AND relnamespace = %(schema)s::regnamespace",
        schema=SCHEMA,
    )
    assert silent == [("alembic_version",)]


@pytest.mark.parametrize("change", [migrate, applied])
def test_migrate__server_does_not_answer__says_so_without_credentials(change: Any) -> None:
    with pytest.raises(ConnectionError) as refusal:
        change(Postgres("postgresql://user:S3CRET@127.0.0.1:1/product", {}))

    assert str(refusal.value) == (
        "Postgres at postgresql://127.0.0.1:1/product: the server does not answer."
        " Check DATABASE_URL, then run: analytics-pipeline doctor"
    )
