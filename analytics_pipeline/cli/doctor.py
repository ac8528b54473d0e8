"""`analytics-pipeline doctor`."""

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

import click
from botocore.exceptions import BotoCoreError, ClientError
from rich.markup import escape
from rich.table import Table

from analytics_pipeline import secret_files
from analytics_pipeline.cli.errors import Exit
from analytics_pipeline.cli.findings import base as findings
from analytics_pipeline.cli.findings.base import ALL, Check, Finding, short
from analytics_pipeline.cli.findings.dagster import dagster_home, dagster_storage
from analytics_pipeline.cli.findings.events import privacy_findings, token_findings
from analytics_pipeline.cli.findings.room import lag_findings, room_findings
from analytics_pipeline.cli.findings.sinks import left_behind, sink_checks
from analytics_pipeline.cli.output import json_option, new_console, print_json
from analytics_pipeline.cli.views import print_views
from analytics_pipeline.config import Settings
from analytics_pipeline.flows import contract
from analytics_pipeline.flows.failures import reason_of
from analytics_pipeline.flows.source_rows.hidden import hidden_rows
from analytics_pipeline.resources.clickhouse.accounting import Tag
from analytics_pipeline.resources.clickhouse.connection import connect
from analytics_pipeline.resources.dynamodb import identities_table
from analytics_pipeline.resources.landing import landing_zone
from analytics_pipeline.resources.postgres import Postgres, postgres

OLDEST_POSTGRES = 14
_IDENTITIES = ("identities", "segments")
# With the start of the program it answers within five seconds, whichever stores do not.
_TIMEOUT_SECONDS = 3.0


@click.command()
@click.option("--all", "everything", is_flag=True, help="Show also what is well, and the configuration.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1),
    default=_TIMEOUT_SECONDS,
    show_default=True,
    help="Seconds that a store may take to answer; all are asked at once.",
)
@click.option(
    "--views",
    is_flag=True,
    help="Print CREATE VIEW statements for what the source names or types otherwise; only that.",
)
@json_option
def doctor(*, everything: bool, timeout: float, views: bool, as_json: bool) -> None:
    """Check the configuration, every connection, the source's tables and the migrations.

    Each gap is listed with the flows that it turns off and with its repair; FLOWS says which flows are wanted, and what
    others lack is no gap. Nothing is changed, but for a probe object that is written to the landing zone and removed.
    Exit code 3 when there is a gap, 4 when the configuration itself is not valid. Warnings leave it at 0.
    """
    settings = Settings.load()
    if views:
        print_views(settings)
    with new_console(stderr=True).status("Looking at the stores …"):
        found = findings.looked_at(_checks(settings), timeout)
    found += findings.misspelt(os.environ, [*settings.masked(), *_OTHER_VARIABLES])
    found = findings.wanted(found, settings.flows)
    has_gaps = any(finding.level == "gap" for finding in found)
    if as_json:
        shown = [{"level": finding.level, **asdict(finding)} for finding in found]
        print_json({"is_well": not has_gaps, "findings": shown, "configuration": settings.masked()})
    else:
        findings.show(new_console(), found, settings.flows, everything=everything)
    if everything and not as_json:
        _show_settings(settings)
    sys.exit(Exit.GAPS if has_gaps else Exit.DONE)


# Not in the settings, but read by this package or by Dagster for it.
_OTHER_VARIABLES = (
    "DAGSTER_HOME",
    "ANALYTICS_TEST_DATA",
    "ANALYTICS_DEV_TOKEN",
    *(variable + secret_files.SUFFIX for variable in secret_files.VARIABLES),
)


def _checks(settings: Settings) -> tuple[Check, ...]:
    aws = "and the AWS environment"
    return (
        Check("Postgres", lambda: _check_postgres(settings), "check DATABASE_URL"),
        Check("ClickHouse", lambda: _check_clickhouse(settings), "check CLICKHOUSE_URL"),
        Check("landing zone", lambda: _check_landing(settings), f"check LANDING_URL {aws}", _IDENTITIES),
        Check("DynamoDB", lambda: _check_dynamodb(settings), f"check IDENTITIES_TABLE {aws}", _IDENTITIES),
        Check("DAGSTER_HOME", lambda: [dagster_home(os.environ.get("DAGSTER_HOME", ""))], "check DAGSTER_HOME"),
        Check("Dagster storage", lambda: dagster_storage(settings), "check DAGSTER_POSTGRES_URL"),
        Check("EVENT_PRIVACY", lambda: privacy_findings(settings), "correct EVENT_PRIVACY", ("product_events",)),
        *sink_checks(settings),
    )


def _check_postgres(settings: Settings) -> Iterator[Finding]:
    if settings.database_url is None:
        yield Finding("Postgres", "not configured", "set DATABASE_URL", ALL)
        return
    store = postgres(settings)
    try:
        gaps = contract.gaps(store)
    except ConnectionError as error:
        yield Finding("Postgres", short(error), "check DATABASE_URL", ALL)
        return
    ((version,),) = store.query("SELECT current_setting('server_version_num')::int / 10000")
    if version < OLDEST_POSTGRES:
        newer = f"reading days from it needs version {OLDEST_POSTGRES} or newer: move it, or copy it to a newer server"
        yield Finding("Postgres", f"answers, but is version {version}", newer, ("reporting", "ai_usage"))
    else:
        yield Finding("Postgres", "answers")
    yield from _hidden_transactions(store)
    yield from lag_findings(store)
    yield from _check_ledgers(settings, store.ledgers)
    for gap in gaps:
        yield from _gap_findings(gap)
    for hiding in hidden_rows(store, contract.COLUMNS):
        yield Finding(f"rows of {store.relations[hiding.relation]}", str(hiding), hiding.repair)
    for relation, texts in contract.notes(store).items():
        yield Finding(f"types of {store.relations[relation]}", "; ".join(texts))
    if not gaps:
        yield Finding("source contract", f"all {len(contract.COLUMNS)} relations fit")


def _check_ledgers(settings: Settings, ledgers: Postgres) -> Iterator[Finding]:
    if settings.ledger_database_url is not None:
        try:
            ledgers.query("SELECT 1")
        except ConnectionError as error:
            yield Finding("Postgres of the ledgers", short(error), "check LEDGER_DATABASE_URL", ALL)
            return
        yield Finding("Postgres of the ledgers", "answers")
    yield from _migration_findings(settings, "postgres")
    yield from token_findings(settings, ledgers)
    yield from left_behind(settings, ledgers)


def _hidden_transactions(store: Postgres) -> Iterator[Finding]:
    """A warning where Postgres hides how long others' transactions have been open."""
    ((user, sees_them),) = store.query("SELECT current_user, pg_has_role('pg_read_all_stats', 'USAGE')")
    if not sees_them:
        state = "hides other sessions' transactions: a row that commits more than five minutes late may be missed"
        repair = f"GRANT pg_read_all_stats TO {user} (used by reporting and ai_usage)"
        yield Finding("Postgres pg_stat_activity", state, repair)


def _gap_findings(gap: contract.Gap) -> Iterator[Finding]:
    subject, flows = f"source {gap.configured_name}", tuple(gap.flows)
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
            yield from room_findings(clickhouse)
    except ConnectionError as error:
        yield Finding("ClickHouse", short(error), "check CLICKHOUSE_URL", ALL)
        return
    yield from _migration_findings(settings, "clickhouse")


def _migration_findings(settings: Settings, store: Literal["postgres", "clickhouse"]) -> Iterator[Finding]:
    # Imported now: Alembic takes as long as all else together, and a store that does not answer has no need of it.
    from analytics_pipeline import migrations

    only = settings.model_copy(update={"clickhouse_url" if store == "postgres" else "database_url": None})
    pending = [migration for migration in migrations.status(only) if migration.state != "applied"]
    if pending:
        names = ", ".join(f"{migration.name} {migration.state}" for migration in pending)
        newer = {migration.state for migration in pending} == {"unknown"}
        repair = "deploy the version that applied them" if newer else "analytics-pipeline migrate all"
        # Code goes on working with the tables of the next version; that is what phase `pre` is for.
        yield Finding(f"migrations of {store}", names, repair, () if newer else ALL)
    else:
        yield Finding(f"migrations of {store}", "all applied")


def _check_landing(settings: Settings) -> Iterator[Finding]:
    if settings.landing_url is None:
        yield Finding("landing zone", "not configured", "set LANDING_URL", _IDENTITIES)
        return
    directory = _directory(settings.landing_url)
    if directory and not directory.is_dir():
        repair = f"correct LANDING_URL, or create it: mkdir -p {shlex.quote(str(directory))}"
        yield Finding("landing zone", f"the directory {directory} does not exist", repair, _IDENTITIES)
        return
    yield _tried("landing zone", lambda: landing_zone(settings).check(), "check LANDING_URL and the AWS environment")


def _directory(url: str) -> Path | None:
    return Path(unquote(urlsplit(url).path)) if url.startswith("file:") else None


def _check_dynamodb(settings: Settings) -> Iterator[Finding]:
    if settings.identities_table is None:
        yield Finding("DynamoDB", "not configured", "set IDENTITIES_TABLE", _IDENTITIES)
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
        return Finding(subject, reason_of(error), repair, _IDENTITIES)


def _show_settings(settings: Settings) -> None:
    table = Table(title="Configuration (credentials are not shown)", title_justify="left")
    for name in ("setting", "value"):
        table.add_column(name, overflow="fold")
    for name, value in settings.masked().items():
        table.add_row(name, escape(value) or "[dim]not set[/]")
    new_console().print(table)
