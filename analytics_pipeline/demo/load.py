"""Loads the demo product into the embedded Postgres and DynamoDB, and into nothing else."""

import ipaddress
import os
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace
from datetime import date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import psycopg
from botocore.config import Config
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.json import Jsonb

from analytics_pipeline.addresses import without_credentials
from analytics_pipeline.demo.ai_usage import ApplicationSettings, chat_events, code_suggestion_events
from analytics_pipeline.demo.dynamodb import create_identities_table, identities_held, write_identities
from analytics_pipeline.demo.product import DemoProduct, Organisation, demo_product
from analytics_pipeline.demo.reporting import accounts, support
from analytics_pipeline.demo.usage_export import log_events
from analytics_pipeline.resources.sql_files import sql_file

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Progress = Callable[[str, int, int], None]


class DemoRefusedError(Exception):
    """The demo would write into something that is not the demo's. Nothing was written."""


@dataclass(frozen=True)
class DemoSummary:
    """Contents of the demo product, and what this load had to write to get there."""

    organisations: int
    projects: int
    environments: int
    live_segments: int
    deleted_segments: int
    feature_flags: int
    identities: int
    rows_written: int
    identities_written: int


def load_demo_product(database_url: str, table: str, *, progress: Progress | None = None) -> DemoSummary:
    """Make the demo product exist in the database and in the DynamoDB table that AWS_ENDPOINT_URL serves.

    Rows that exist stay as they are, so that a flag or a segment changed by hand survives the next start.
    `progress` hears a label, how many are done and how many there are.

    Raises:
        DemoRefusedError: the database or the AWS endpoint is not an embedded one, or holds somebody else's rows.
    """
    product = demo_product()
    client = _embedded_dynamodb()
    report = progress or _silent
    rows_written = _load_rows(database_url, product, report)
    return DemoSummary(
        organisations=len(product.organisations),
        projects=len(product.projects),
        environments=len(product.environments),
        live_segments=len(product.live_segments),
        deleted_segments=len(product.segments) - len(product.live_segments),
        feature_flags=len(product.feature_flags),
        identities=len(product.identities),
        rows_written=rows_written,
        identities_written=_load_identities(client, table, product, report),
    )


def first_days(database_url: str) -> dict[str, date]:
    """Where the demo's data begin, by the setting that says so; identities begin today, as nobody captured them before.

    Reporting begins on the earliest first date of any account, in its own zone.
    """
    with psycopg.connect(database_url) as connection:
        found = connection.execute(sql_file(__package__, "first_days.sql")).fetchone()
    reporting, ai_usage = found or (None, None)
    today = datetime.now(timezone.utc).date()
    return {
        "IDENTITIES_START_DATE": today,
        "REPORTING_START_DATE": reporting or today,
        "AI_USAGE_START_DATE": ai_usage or today,
        # Another day than identities: what begins together shares a run.
        "PRODUCT_EVENTS_START_DATE": today - timedelta(days=1),
    }


def save_application_settings(database_url: str, *, use_clickhouse_for_analytics: bool) -> bool:
    """Save the setting as the product's admin page does; returns whether that changed it.

    Raises:
        DemoRefusedError: the database does not hold the demo product.
    """
    _require_this_machine(*_hosts(database_url))
    with psycopg.connect(database_url) as connection:
        _require_demo_database(connection, demo_product().organisations)
        if not _organisations_in(connection):
            raise DemoRefusedError(
                f"Database {connection.info.dbname} does not hold the demo product; nothing was written. "
                "Run: analytics-pipeline demo"
            )
        saved = connection.execute(
            "UPDATE application_settings SET use_clickhouse_for_analytics = %(on)s, updated_at = now()"
            " WHERE use_clickhouse_for_analytics <> %(on)s",
            {"on": use_clickhouse_for_analytics},
        )
        return saved.rowcount > 0


def _silent(label: str, done: int, total: int) -> None:
    """Nobody is watching."""


def _embedded_dynamodb() -> "DynamoDBClient":
    _require_embedded_endpoint(os.environ.get("AWS_ENDPOINT_URL", ""))
    # boto3 would check each attribute of thousands of documents that this package makes itself: a third of its time.
    client: DynamoDBClient = boto3.client("dynamodb", config=Config(parameter_validation=False))
    # The endpoint that boto3 chose counts: AWS_ENDPOINT_URL_DYNAMODB and a profile win over the variable above.
    _require_embedded_endpoint(client.meta.endpoint_url)
    return client


def _require_embedded_endpoint(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "http" or not _is_loopback(parts.hostname or ""):
        where = without_credentials(url) if url else "the AWS of the caller's credentials"
        raise DemoRefusedError(
            f"The demo writes only to the embedded AWS, not to {where}; nothing was written. "
            "Set AWS_ENDPOINT_URL to it, e.g. http://127.0.0.1:5000 (and no AWS_ENDPOINT_URL_DYNAMODB)."
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _load_rows(database_url: str, product: DemoProduct, report: Progress) -> int:
    done = written = 0
    _require_this_machine(*_hosts(database_url))
    # One transaction: a database that is refused, or that fails half way, is left without a single table of the demo.
    with psycopg.connect(database_url) as connection:
        _require_demo_database(connection, product.organisations)
        connection.execute(sql_file(__package__, "schema.sql"))
        is_later = bool(connection.execute("SELECT FROM reporting_events LIMIT 1").rowcount)
        relations = _rows_of(product, datetime.now(timezone.utc), is_later=is_later)
        total = sum(map(len, relations.values()))
        for relation, rows in relations.items():
            written += _insert_missing(connection, relation, rows)
            done += len(rows)
            report("rows", done, total)
    return written


def _rows_of(product: DemoProduct, now: datetime, *, is_later: bool) -> dict[str, Sequence[Any]]:
    """Rows by relation. A later load writes now what happened since the first one: that is how late rows are found."""
    conversations, events = support(now)
    return {
        "organisations": product.organisations,
        "projects": product.projects,
        "environments": product.environments,
        "segments": product.segments,
        "feature_flags": product.feature_flags,
        "accounts": accounts(),
        "conversations": conversations,
        "reporting_events": [replace(event, updated_at=now) for event in events] if is_later else events,
        "application_settings": (ApplicationSettings(1, use_clickhouse_for_analytics=False),),
        "ai_duo_chat_events": chat_events(now.date()),
        "ai_code_suggestion_events": code_suggestion_events(now.date()),
        "event_logs": log_events(now),
    }


def _hosts(database_url: str) -> list[str]:
    """The hosts that the URL names; none means the local socket, unless the caller's environment says otherwise."""
    named = conninfo_to_dict(database_url)
    return [host for key in ("host", "hostaddr") for host in str(named.get(key) or "").split(",") if host]


def _require_this_machine(*hosts: str) -> None:
    for host in hosts:
        if not host.startswith("/") and not _is_loopback(host):
            raise DemoRefusedError(
                f"The demo writes only to a Postgres on this machine, not to {host}; nothing was written. "
                "Point DATABASE_URL at the embedded one."
            )


def _require_demo_database(connection: psycopg.Connection, organisations: Sequence[Organisation]) -> None:
    _require_this_machine(connection.info.host)
    ours = {(str(organisation.id), organisation.name) for organisation in organisations}
    foreign = [row for row in _organisations_in(connection) if row not in ours]
    if foreign:
        raise DemoRefusedError(
            f"Database {connection.info.dbname} has {len(foreign)} organisations that are not the demo's; nothing was "
            "written. Point DATABASE_URL at an empty database."
        )


def _organisations_in(connection: psycopg.Connection) -> list[tuple[str | None, str | None]]:
    found = connection.execute("SELECT to_regclass('organisations')").fetchone()
    if found == (None,):
        return []
    # Through JSON, because somebody else's relation of that name may lack these columns.
    return connection.execute("SELECT to_jsonb(o) ->> 'id', to_jsonb(o) ->> 'name' FROM organisations AS o").fetchall()


def _insert_missing(connection: psycopg.Connection, relation: str, rows: Sequence[Any]) -> int:
    columns = list(rows[0].__dataclass_fields__)
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT DO NOTHING").format(
        sql.Identifier(relation),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join([sql.Placeholder()] * len(columns)),
    )
    with connection.cursor() as cursor:
        cursor.executemany(statement, [_parameters(row) for row in rows])
        return cursor.rowcount


def _parameters(row: Any) -> list[Any]:
    return [Jsonb(value) if isinstance(value, list | dict) else value for value in astuple(row)]


def _load_identities(client: "DynamoDBClient", table: str, product: DemoProduct, report: Progress) -> int:
    """Write them all unless they are all there: a load that was interrupted left an unknown part of them."""
    total = len(product.identities)
    held = identities_held(client, table)
    if held is None:
        create_identities_table(client, table)
    if (held or 0) >= total:
        report("identities", total, total)
        return 0
    write_identities(client, table, product.identities, lambda written: report("identities", written, total))
    return total
