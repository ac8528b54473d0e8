"""`analytics-pipeline migrate`."""

import sys
from collections.abc import Sequence

import click
from clickhouse_migrations.exceptions import MigrationException
from rich.table import Table

from analytics_pipeline import migrations
from analytics_pipeline.cli.errors import Exit
from analytics_pipeline.cli.output import json_option, new_console, new_progress, print_json
from analytics_pipeline.config import NotConfigured, Settings
from analytics_pipeline.migrations import Migration, NewerSchema
from analytics_pipeline.migrations.clickhouse import PHASES, Phase
from analytics_pipeline.resources.postgres import LeaseHeld

_OUT_OF_STEP = (
    "Nothing was applied. `analytics-pipeline migrate status` names the scripts that are out of step:"
    " restore them as they were and put the change into a new one."
)


@click.group()
def migrate() -> None:
    """Bring the schemas of Postgres and ClickHouse up to date.

    The application's Postgres gets the schema `analytics_pipeline`; nothing outside it is touched. ClickHouse gets the
    tables in the database that CLICKHOUSE_URL names. Every migration is recorded by itself, so running any of these
    again does only what is missing.

    \b
    Around a deploy:   analytics-pipeline migrate pre      tables: before the new code runs
                       analytics-pipeline migrate post     views and aggregates: after it
    In one go:         analytics-pipeline migrate all
    """


@migrate.command("all")
@json_option
def migrate_all(*, as_json: bool) -> None:
    """Apply everything that is pending, `pre` then `post`."""
    _run(PHASES, as_json=as_json)


@migrate.command("pre")
@json_option
def migrate_pre(*, as_json: bool) -> None:
    """Apply what must be there before the new code runs: the Postgres schema and the ClickHouse tables."""
    _run(("pre",), as_json=as_json)


@migrate.command("post")
@json_option
def migrate_post(*, as_json: bool) -> None:
    """Apply what reads the tables: ClickHouse views and aggregates."""
    _run(("post",), as_json=as_json)


@migrate.command("status")
@json_option
def migrate_status(*, as_json: bool) -> None:
    """List every migration with its state. Exit code 3 when any is pending or out of step; changes nothing."""
    found = migrations.status(_configured())
    if as_json:
        print_json(found)
    else:
        _show("Migrations", found)
    sys.exit(Exit.DONE if all(migration.state == "applied" for migration in found) else Exit.GAPS)


@migrate.command("dry-run")
@json_option
def migrate_dry_run(*, as_json: bool) -> None:
    """List what `migrate all` would apply, in order; changes nothing."""
    pending = [migration for migration in migrations.status(_configured()) if migration.state == "pending"]
    if as_json:
        print_json(pending)
    elif pending:
        _show("Would be applied", pending)
    else:
        new_console().print("Nothing is pending.")


def _run(phases: Sequence[Phase], *, as_json: bool) -> None:
    settings = _configured()
    pending = [migration for migration in migrations.status(settings, phases) if migration.state == "pending"]
    try:
        with new_progress(new_console(stderr=as_json)) as progress:
            task = progress.add_task("Migrating", total=len(pending))
            applied = migrations.migrate(settings, phases, lambda _: progress.advance(task))
    except (LeaseHeld, NewerSchema) as error:
        raise click.ClickException(str(error)) from error
    except MigrationException as error:
        raise click.ClickException(f"{error} {_OUT_OF_STEP}") from error
    if as_json:
        print_json(applied)
    elif applied:
        _show("Applied", applied)
    else:
        new_console().print("Everything is applied already.")


def _configured() -> Settings:
    settings = Settings.load()
    if settings.database_url is None and settings.clickhouse_url is None:
        raise NotConfigured("store", "DATABASE_URL or CLICKHOUSE_URL")
    return settings


def _show(title: str, rows: list[Migration]) -> None:
    colours = {"applied": "green", "pending": "yellow"}
    table = Table("store", "phase", "migration", "state", title=title, title_justify="left")
    for row in rows:
        table.add_row(row.store, row.phase, row.name, f"[{colours.get(row.state, 'red')}]{row.state}[/]")
    new_console().print(table)
