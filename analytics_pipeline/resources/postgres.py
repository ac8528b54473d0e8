"""Postgres as the flows use it: short connections, leases that die with their holder."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeAlias

import adbc_driver_manager
import psycopg
from psycopg import sql
from psycopg.rows import TupleRow
from pydantic import SecretStr
from typing_extensions import LiteralString

from analytics_pipeline.config import AccessRefused, NotConfigured, Settings, without_credentials

SCHEMA = "analytics_pipeline"
CONNECT_TIMEOUT_SECONDS = 10
APPLICATION_NAME = "analytics_pipeline"
_OWN_TABLES = f"{SCHEMA}."

Connection: TypeAlias = psycopg.Connection[TupleRow]


class LeaseHeld(Exception):
    """Another run holds the lease; nothing was changed."""


class LeaseLost(Exception):
    """The connection that held the lease broke, so another run may have worked beside this one."""


class MixedStatement(Exception):
    """A statement names relations of the source and tables of our own, which need not be in one database."""


@dataclass(frozen=True)
class Postgres:
    """The application's database, whose relations are read, and where our own schema `analytics_pipeline` is kept.

    That is one database unless `ledger_url` names another one; then this one is never written and may be a replica.
    `variable` is where its address comes from, for messages.
    """

    url: str
    relations: Mapping[str, str]
    variable: str = "DATABASE_URL"
    ledger_url: str | None = None

    @property
    def ledgers(self) -> "Postgres":
        """The database of our own schema. What connects by itself to work with our tables connects to it."""
        if self.ledger_url is None:
            return self
        return replace(self, url=self.ledger_url, variable="LEDGER_DATABASE_URL", ledger_url=None)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """One transaction: committed at the end, rolled back by an exception.

        Raises:
            ConnectionError: the server does not answer; the text shows no credentials.
        """
        with closing(self.open()) as connection, connection:
            yield connection

    def query(self, statement: LiteralString, **parameters: Any) -> list[TupleRow]:
        """All rows of a small result. `{name}` of a source relation in the text becomes its configured name.

        A statement over tables of our schema is asked where they are, any other at the source.
        """
        composed = self.statement(statement)
        asked = self.ledgers if _OWN_TABLES in statement else self
        with asked.connect() as connection:
            return connection.execute(composed, parameters).fetchall()

    def statement(self, text: LiteralString) -> sql.Composed:
        """The text with `{relation}` of each source relation replaced by its quoted, configured name.

        Raises:
            MixedStatement: it names our own tables as well, which may be in another database.
        """
        if _OWN_TABLES in text and any(f"{{{name}}}" in text for name in self.relations):
            raise MixedStatement("a statement is either over the source's relations or over our own tables")
        return sql.SQL(text).format(**{name: self.relation(name) for name in self.relations})

    def relation(self, name: str) -> sql.Identifier:
        """The quoted, configured name of a source relation."""
        return sql.Identifier(*self.relations[name].split("."))

    @contextmanager
    def lease(self, name: str, *, patience: timedelta = timedelta(0)) -> Iterator[None]:
        """Hold the lease `name`, once it is free. It is the connection's: when its holder dies, Postgres frees it.

        Raises:
            LeaseHeld: somebody else holds it and did not free it within `patience`.
            LeaseLost: it did not hold to the end.
        """
        with closing(self.ledgers.open(autocommit=True)) as connection:
            if not _taken(connection, f"{SCHEMA}:{name}", patience):
                raise LeaseHeld(f"another run is working on {name} and was left to it; try again when it has ended")
            yield
            try:
                connection.execute("SELECT 1")
            except psycopg.OperationalError as error:
                raise LeaseLost(f"the lease on {name} was lost on the way; run this again to be sure") from error

    def is_leased(self, name: str) -> bool:
        """Whether somebody holds the lease at this moment, without taking it from anybody."""
        ((held,),) = self.ledgers.query(_IS_LEASED, name=f"{SCHEMA}:{name}")
        return bool(held)

    def open(self, *, autocommit: bool = False) -> Connection:
        """A connection that the caller closes. Its zone is UTC, its dates are ISO's, whatever the database's are.

        Raises:
            ConnectionError: the server does not answer; the text shows no credentials.
        """
        try:
            connection = psycopg.connect(
                self.url,
                autocommit=True,
                connect_timeout=CONNECT_TIMEOUT_SECONDS,
                application_name=APPLICATION_NAME,
            )
            # Days, and moments of columns that have no zone, would depend on the one; moments are read by the other.
            connection.execute("SET timezone = 'UTC'; SET datestyle = 'ISO'")
            connection.autocommit = autocommit
            return connection
        except psycopg.Error as error:
            raise refusal(self.url, self.variable, error) from None


# As pg_locks shows a lock on a bigint.
_IS_LEASED = """
    SELECT EXISTS (
        SELECT 1 FROM pg_locks
        WHERE locktype = 'advisory' AND objsubid = 1 AND granted
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND (classid::bigint << 32) | objid::bigint = hashtextextended(%(name)s, 0)
    )
"""


def postgres(settings: Settings) -> Postgres:
    """The configured application database.

    Raises:
        NotConfigured: `DATABASE_URL` is not set.
    """
    if settings.database_url is None:
        raise NotConfigured("postgres", "DATABASE_URL")
    ledgers = settings.ledger_database_url
    return Postgres(
        _plain(settings.database_url), dict(settings.sources), ledger_url=None if ledgers is None else _plain(ledgers)
    )


def _plain(url: SecretStr) -> str:
    return url.get_secret_value().replace("postgresql+psycopg2://", "postgresql://", 1)


def _taken(connection: Connection, name: str, patience: timedelta) -> bool:
    """Whether the advisory lock was had; waiting for it is Postgres's own, so nobody polls."""
    if not patience:
        return connection.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [name]).fetchone() == (True,)
    connection.execute("SELECT set_config('lock_timeout', %s, false)", [f"{patience.total_seconds() * 1000:.0f}ms"])
    try:
        connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [name])
    except psycopg.errors.LockNotAvailable:
        return False
    return True


def refusal(url: str, variable: str, error: psycopg.Error | adbc_driver_manager.Error) -> ConnectionError:
    """What to tell of a connection that could not be opened; it shows no credentials."""
    silent = "the server does not answer"
    reason = "the user or password is wrong" if "authentication" in str(error) else silent
    if not isinstance(error, psycopg.OperationalError | adbc_driver_manager.OperationalError):
        reason = "the URL cannot be read"
    elif "does not exist" in str(error):
        reason = "the database or user does not exist"
    kind = ConnectionError if reason is silent else AccessRefused
    place = without_credentials(url)
    return kind(f"Postgres at {place}: {reason}. Check {variable}, then run: analytics-pipeline doctor")
