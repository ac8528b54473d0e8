"""`analytics-pipeline doctor`."""

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from analytics_pipeline import migrations
from analytics_pipeline.cli.errors import Exit
from analytics_pipeline.cli.views import print_views
from analytics_pipeline.config import Settings
from analytics_pipeline.flows import contract
from analytics_pipeline.flows.failures import reason_of
from analytics_pipeline.resources.clickhouse.client import Tag
from analytics_pipeline.resources.clickhouse.connection import connect
from analytics_pipeline.resources.dynamodb import identities_table
from analytics_pipeline.resources.landing import landing_zone
from analytics_pipeline.resources.postgres import postgres

ALL = "every flow"
OLDEST_POSTGRES = 14


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `repair` is empty when it is well, `turns_off` names the flows it stops."""

    subject: str
    state: str
    repair: str = ""
    turns_off: str = ""


@click.command()
@click.option(
    "--views",
    is_flag=True,
    help="Print CREATE VIEW statements for what the source names or types otherwise; only that.",
)
def doctor(*, views: bool) -> None:
    """Check the configuration, every connection, the source's tables and the migrations.

    Each gap is listed with the flows that it turns off and with its repair. Nothing is changed, but for a probe object
    that is written to the landing zone and removed again.
    Exit code 3 when there is a gap, 4 when the configuration itself is not valid.
    """
    settings = Settings.load()
    if views:
        print_views(settings)
    _show_settings(settings)
    checks = (_check_postgres, _check_clickhouse, _check_landing, _check_dynamodb, _check_dagster)
    with Console().status("Looking at the stores …"):
        findings = [finding for check in checks for finding in check(settings)]
    _show_findings(findings)
    has_gaps = any(finding.repair for finding in findings)
    Console().print("[yellow]There are gaps; see the repairs above." if has_gaps else "[green]All is well.")
    sys.exit(Exit.GAPS if has_gaps else Exit.DONE)


def _check_postgres(settings: Settings) -> Iterator[Finding]:
    if settings.database_url is None:
        yield Finding("Postgres", "not configured", "set DATABASE_URL", ALL)
        return
    store = postgres(settings)
    try:
        gaps = contract.gaps(store)
    except ConnectionError as error:
        yield Finding("Postgres", str(error), "check DATABASE_URL", ALL)
        return
    ((version,),) = store.query("SELECT current_setting('server_version_num')::int / 10000")
    if version < OLDEST_POSTGRES:
        newer = f"reading days from it needs version {OLDEST_POSTGRES} or newer: move it, or copy it to a newer server"
        yield Finding("Postgres", f"answers, but is version {version}", newer, "reporting, ai_usage")
    else:
        yield Finding("Postgres", "answers")
    yield from _migration_findings(settings, "postgres")
    for gap in gaps:
        yield from _gap_findings(gap)
    for relation, texts in contract.notes(store).items():
        yield Finding(f"types of {store.relations[relation]}", "; ".join(texts))
    if not gaps:
        yield Finding("source contract", f"all {len(contract.COLUMNS)} relations fit")


def _gap_findings(gap: contract.Gap) -> Iterator[Finding]:
    subject, flows = f"source {gap.configured_name}", ", ".join(gap.flows)
    if gap.missing:
        missing = "is absent" if gap.is_absent else f"lacks {', '.join(gap.missing)}"
        repair = f"create it, or point SOURCE_{gap.relation.upper()} at a view that has {', '.join(gap.missing)}"
        yield Finding(subject, missing, repair, flows)
    if gap.unreadable:
        repair = f"GRANT SELECT ON {gap.configured_name} TO the user of DATABASE_URL, and USAGE on its schema"
        yield Finding(subject, f"may not be read: {', '.join(gap.unreadable)}", repair, flows)
    if gap.mistyped:
        repair = f"point SOURCE_{gap.relation.upper()} at a view: analytics-pipeline doctor --views"
        yield Finding(subject, "; ".join(map(str, gap.mistyped)), repair, flows)


def _check_clickhouse(settings: Settings) -> Iterator[Finding]:
    if settings.clickhouse_url is None:
        yield Finding("ClickHouse", "not configured", "set CLICKHOUSE_URL", ALL)
        return
    try:
        with connect(settings, Tag("doctor", "version")) as clickhouse:
            yield Finding("ClickHouse", f"answers, version {clickhouse.scalar('SELECT version()')}")
    except ConnectionError as error:
        yield Finding("ClickHouse", str(error), "check CLICKHOUSE_URL", ALL)
        return
    yield from _migration_findings(settings, "clickhouse")


def _migration_findings(settings: Settings, store: migrations.Store) -> Iterator[Finding]:
    only = settings.model_copy(update={"clickhouse_url" if store == "postgres" else "database_url": None})
    pending = [migration for migration in migrations.status(only) if migration.state != "applied"]
    if pending:
        names = ", ".join(f"{migration.name} {migration.state}" for migration in pending)
        yield Finding(f"migrations of {store}", names, "analytics-pipeline migrate all", ALL)
    else:
        yield Finding(f"migrations of {store}", "all applied")


def _check_landing(settings: Settings) -> Iterator[Finding]:
    if settings.landing_url is None:
        yield Finding("landing zone", "not configured", "set LANDING_URL", "identities, segments")
        return
    directory = _directory(settings.landing_url)
    if directory and not directory.is_dir():
        repair = f"correct LANDING_URL, or create it: mkdir -p {shlex.quote(str(directory))}"
        yield Finding("landing zone", f"the directory {directory} does not exist", repair, "identities, segments")
        return
    yield _tried("landing zone", lambda: landing_zone(settings).check(), "check LANDING_URL and the AWS environment")


def _directory(url: str) -> Path | None:
    return Path(unquote(urlsplit(url).path)) if url.startswith("file:") else None


def _check_dynamodb(settings: Settings) -> Iterator[Finding]:
    if settings.identities_table is None:
        yield Finding("DynamoDB", "not configured", "set IDENTITIES_TABLE", "identities, segments")
        return
    repair = "check IDENTITIES_TABLE and the AWS environment"
    table = _tried("DynamoDB", lambda: identities_table(settings).check(), repair)
    yield table
    if table.repair:
        return
    if settings.identity_reader == "query":
        repair = "set IDENTITIES_INDEX to an index with the projection ALL, or set IDENTITY_READER=export"
        yield _tried("DynamoDB index", lambda: identities_table(settings).check_index(), repair)
    else:
        repair = "switch it on: aws dynamodb update-continuous-backups …, or set IDENTITY_READER=query"
        yield _tried("DynamoDB export", lambda: identities_table(settings).check_export(), repair)


def _tried(subject: str, check: Callable[[], str], repair: str) -> Finding:
    try:
        return Finding(subject, check())
    except (BotoCoreError, ClientError, OSError, ValueError) as error:
        return Finding(subject, reason_of(error), repair, "identities, segments")


def _check_dagster(settings: Settings) -> Iterator[Finding]:
    yield _dagster_home(os.environ.get("DAGSTER_HOME", ""))
    yield from _check_dagster_storage(settings)


def _dagster_home(value: str) -> Finding:
    directory, repair = Path(value), 'mkdir -p "$DAGSTER_HOME" && cp dagster.yaml "$DAGSTER_HOME/"'
    if not value:
        return Finding("DAGSTER_HOME", "not set", f"set DAGSTER_HOME to a directory of its own, then {repair}", ALL)
    if not directory.is_absolute():
        return Finding("DAGSTER_HOME", f"{value} is not absolute, and Dagster refuses it", "set the whole path", ALL)
    if not directory.is_dir() or not os.access(directory, os.W_OK):
        return Finding("DAGSTER_HOME", f"{value} is not a directory that can be written", repair, ALL)
    if not (directory / "dagster.yaml").is_file():
        return Finding("DAGSTER_HOME", f"{value} has no dagster.yaml", repair, ALL)
    return Finding("DAGSTER_HOME", f"{value} has a dagster.yaml")


def _check_dagster_storage(settings: Settings) -> Iterator[Finding]:
    if settings.dagster_postgres_url is None:
        yield Finding("Dagster storage", "not configured", "set DAGSTER_POSTGRES_URL", ALL)
        return
    only = settings.model_copy(update={"database_url": settings.dagster_postgres_url})
    try:
        replace(postgres(only), variable="DAGSTER_POSTGRES_URL").query("SELECT 1")
    except ConnectionError as error:
        yield Finding("Dagster storage", str(error), "check DAGSTER_POSTGRES_URL", ALL)
    else:
        yield Finding("Dagster storage", "answers")


def _show_settings(settings: Settings) -> None:
    table = Table(title="Configuration (credentials are not shown)", title_justify="left")
    for name in ("setting", "value"):
        table.add_column(name, overflow="fold")
    for name, value in settings.masked().items():
        table.add_row(name, escape(value) or "[dim]not set[/]")
    Console().print(table)


def _show_findings(findings: list[Finding]) -> None:
    table = Table("", title="Findings", title_justify="left")
    for name in ("what", "state", "turns off", "repair"):
        table.add_column(name, overflow="fold")
    for finding in findings:
        mark = "[red]✗[/]" if finding.repair else "[green]✓[/]"
        texts = (finding.subject, finding.state, finding.turns_off, finding.repair)
        table.add_row(mark, *map(escape, texts))
    Console().print(table)
