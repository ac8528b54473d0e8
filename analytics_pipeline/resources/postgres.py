"""Postgres as the flows use it: short connections, server-side streaming, leases that die with their holder."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow
from typing_extensions import LiteralString

from analytics_pipeline.config import NotConfigured, Settings, without_credentials

SCHEMA = "analytics_pipeline"
CONNECT_TIMEOUT_SECONDS = 10

Connection: TypeAlias = psycopg.Connection[TupleRow]


class LeaseHeld(Exception):
    """Another run holds the lease; nothing was changed."""


class LeaseLost(Exception):
    """The connection that held the lease broke, so another run may have worked beside this one."""


@dataclass(frozen=True)
class Postgres:
    """The application's database: its relations are read, only the schema `analytics_pipeline` is written."""

    url: str
    relations: Mapping[str, str]

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """One transaction: committed at the end, rolled back by an exception.

        Raises:
            ConnectionError: the server does not answer; the text shows no credentials.
        """
        with closing(self.open()) as connection, connection:
            yield connection

    def query(self, statement: LiteralString, **parameters: Any) -> list[TupleRow]:
        """All rows of a small result. `{name}` of a source relation in the text becomes its configured name."""
        with self.connect() as connection:
            return connection.execute(self.statement(statement), parameters).fetchall()

    def stream(self, statement: LiteralString, batch: int = 10_000, **parameters: Any) -> Iterator[TupleRow]:
        """Rows of a result of any size, read through a server-side cursor `batch` rows at a time."""
        with self.connect() as connection, connection.cursor(name="stream") as cursor:
            cursor.itersize = batch
            yield from cursor.execute(self.statement(statement), parameters)

    def statement(self, text: LiteralString) -> sql.Composed:
        """The text with `{relation}` of each source relation replaced by its quoted, configured name."""
        return sql.SQL(text).format(**{name: _identifier(relation) for name, relation in self.relations.items()})

    @contextmanager
    def lease(self, name: str) -> Iterator[None]:
        """Hold the lease `name`. It is the connection's: when its holder dies, Postgres frees it.

        Raises:
            LeaseHeld: somebody else holds it.
            LeaseLost: it did not hold to the end.
        """
        with closing(self.open(autocommit=True)) as connection:
            taken = connection.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [f"{SCHEMA}:{name}"])
            if taken.fetchone() != (True,):
                raise LeaseHeld(f"another run is working on {name} and was left to it; try again when it has ended")
            yield
            try:
                connection.execute("SELECT 1")
            except psycopg.OperationalError as error:
                raise LeaseLost(f"the lease on {name} was lost on the way; run this again to be sure") from error

    def open(self, *, autocommit: bool = False) -> Connection:
        """A connection that the caller closes.

        Raises:
            ConnectionError: the server does not answer; the text shows no credentials.
        """
        try:
            return psycopg.connect(
                self.url,
                autocommit=autocommit,
                connect_timeout=CONNECT_TIMEOUT_SECONDS,
                application_name="analytics_pipeline",
            )
        except psycopg.Error as error:
            raise ConnectionError(_refusal(self.url, error)) from None


def postgres(settings: Settings) -> Postgres:
    """The configured application database.

    Raises:
        NotConfigured: `DATABASE_URL` is not set.
    """
    if settings.database_url is None:
        raise NotConfigured("postgres", "DATABASE_URL")
    url = settings.database_url.get_secret_value().replace("postgresql+psycopg2://", "postgresql://", 1)
    return Postgres(url, dict(settings.sources))


def _identifier(relation: str) -> sql.Identifier:
    return sql.Identifier(*relation.split("."))


def _refusal(url: str, error: psycopg.Error) -> str:
    reason = "the user or password is wrong" if "authentication" in str(error) else "the server does not answer"
    if not isinstance(error, psycopg.OperationalError):
        reason = "the URL cannot be read"
    elif "does not exist" in str(error):
        reason = "the database or user does not exist"
    return f"Postgres at {without_credentials(url)}: {reason}. Check DATABASE_URL, then run: analytics-pipeline doctor"
