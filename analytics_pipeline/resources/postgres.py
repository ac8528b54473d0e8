"""Postgres as the flows use it: short connections, leases that die with their holder."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from threading import Event
from typing import Any, TypeAlias

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow
from pydantic import SecretStr
from typing_extensions import LiteralString

from analytics_pipeline.addresses import without_credentials
from analytics_pipeline.config import NotConfigured, Settings
from analytics_pipeline.errors import Broken, Passing, Refused
from analytics_pipeline.resources.kept_sessions import Pool, borrowed, lent, pool
from analytics_pipeline.resources.sessions import (
    APPLY_SETTINGS,
    CONNECTION_OPTIONS,
    GRACE_SECONDS,
    IS_LEASED,
    Session,
    Stopped,
    committed,
    freed,
    lost_moment,
    refusal,
    session_settings,
    taken,
)

SCHEMA = "analytics_pipeline"
_OWN_TABLES = f"{SCHEMA}."

Connection: TypeAlias = Session


class LeaseHeld(Refused):
    """Another run holds the lease; nothing was changed."""


class LeaseLost(Passing):
    """The connection that held the lease broke, so another run may have worked beside this one."""


class MixedStatement(Broken):
    """A statement names relations of the source and tables of our own, which need not be in one database."""


@dataclass(frozen=True)
class Postgres:
    """The application's database, whose relations are read, and where our own schema `analytics_pipeline` is kept.

    That is one database unless `ledger_url` names another one; then this one is never written and may be a replica.
    `variable` is where its address comes from, for messages. No statement of ours lasts longer than `lock_seconds`, so
    that no lock of ours on a relation of the product does. Once `stop` is set, whatever waits for an answer ends.
    A replica that is more than `lag_seconds` behind is too far behind for heavy work; 0: none is.
    `pools` keep connections for `query`, by URL; see `pooled`.
    """

    url: str
    relations: Mapping[str, str]
    variable: str = "DATABASE_URL"
    lock_seconds: int = 60
    stop: Event | None = None
    ledger_url: str | None = None
    lag_seconds: int = 300
    pools: Mapping[str, Pool] = field(default_factory=dict, compare=False, repr=False)

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
        with self._session() as connection, committed(connection):
            yield connection

    @contextmanager
    def _session(self, *, autocommit: bool = False) -> Iterator[Connection]:
        """For one use: a session that served before, within `kept_sessions`, or a new one."""
        with lent((self.url, self.lock_seconds), self.open) as session:
            session.stop, session.autocommit = self.stop, autocommit
            yield session

    @contextmanager
    def as_of(self, snapshot: str) -> Iterator[Connection]:
        """One transaction that reads what an exported snapshot sees. The locks that it takes end with it.

        Raises:
            MomentLost: the session that exported the snapshot has ended.
        """
        with self.connect() as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            try:
                connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)))
            except psycopg.Error as error:
                raise lost_moment(error.sqlstate) or error from None
            yield connection

    def query(self, statement: LiteralString, **parameters: Any) -> list[TupleRow]:
        """All rows of a small result. `{name}` of a source relation in the text becomes its configured name.

        A statement over tables of our schema is asked where they are, any other at the source.
        """
        composed = self.statement(statement)
        asked = self.ledgers if _OWN_TABLES in statement else self
        with asked._asking() as connection:
            return connection.execute(composed, parameters).fetchall()

    @contextmanager
    def _asking(self) -> Iterator[Connection]:
        """A connection for one statement: of the pool, or where there is none or none is free, another."""
        with borrowed(self.pools.get(self.url)) as kept:
            if kept is not None:
                yield kept
                return
        # A statement is a transaction of its own, which saves asking for its begin and its end.
        with self._session(autocommit=True) as connection:
            yield connection

    @contextmanager
    def pooled(self, connections: int = 4) -> Iterator["Postgres"]:
        """The same databases, whose `query` uses up to so many kept connections to each; they are closed at the end.

        For who asks often: opening a connection takes several times as long as asking.
        """
        with ExitStack() as kept:
            places = {place.url: place for place in (self, self.ledgers)}
            pools = {
                url: kept.enter_context(pool(place.conninfo, place.prepare, connections))
                for url, place in places.items()
            }
            yield replace(self, pools=pools)

    def statement(self, text: LiteralString) -> sql.Composed:
        """The text with `{relation}` of each source relation replaced by its quoted, configured name.

        Raises:
            MixedStatement: it names our own tables as well, which may be in another database.
        """
        named = [name for name in self.relations if f"{{{name}}}" in text]
        if named and _OWN_TABLES in text:
            raise MixedStatement("a statement is either over the source's relations or over our own tables")
        return sql.SQL(text).format(**{name: self.relation(name) for name in named})

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
        with self.ledgers._holder(patience) as connection:
            if not taken(connection, f"{SCHEMA}:{name}", patience):
                raise LeaseHeld(f"another run is working on {name} and was left to it; try again when it has ended")
            try:
                yield
            except BaseException:
                # The server notices the end of a session a moment later, and the next attempt may have begun by then.
                with suppress(psycopg.Error, Stopped):
                    freed(connection, f"{SCHEMA}:{name}")
                raise
            if not freed(connection, f"{SCHEMA}:{name}"):
                raise LeaseLost(f"the lease on {name} was lost on the way; run this again to be sure")

    def _holder(self, patience: timedelta) -> AbstractContextManager[Connection]:
        """A connection that holds a lease; one that waits for it has limits that suit nobody else."""
        if not patience:
            return self._session(autocommit=True)
        seconds = patience.total_seconds() + GRACE_SECONDS
        return closing(self.open(autocommit=True, statement_seconds=seconds))

    def is_leased(self, name: str) -> bool:
        """Whether somebody holds the lease at this moment, without taking it from anybody."""
        ((held,),) = self.ledgers.query(IS_LEASED, name=f"{SCHEMA}:{name}")
        return bool(held)

    def open(self, *, autocommit: bool = False, statement_seconds: float | None = None) -> Connection:
        """A connection that the caller closes. Its zone is UTC, its dates are ISO's, whatever the database's are.

        Raises:
            ConnectionError: the server does not answer; the text shows no credentials.
        """
        try:
            connection = Session.connect(self.conninfo, autocommit=True)
        except psycopg.Error as error:
            raise refusal(self.url, self.variable, str(error), error.sqlstate) from None
        try:
            self.prepare(connection, statement_seconds)
            connection.autocommit = autocommit
        except psycopg.Error as error:
            connection.close()
            raise refusal(self.url, self.variable, str(error), error.sqlstate) from None
        return connection

    @property
    def conninfo(self) -> str:
        """Address and options of a session of ours."""
        return make_conninfo(self.url, **CONNECTION_OPTIONS)

    def prepare(self, connection: Connection, statement_seconds: float | None = None) -> None:
        """Let a new session set what it depends on, with the longest time of one statement."""
        seconds = self.lock_seconds if statement_seconds is None else statement_seconds
        connection.place, connection.stop = without_credentials(self.url), self.stop
        settings = session_settings(seconds)
        connection.execute(sql.SQL(APPLY_SETTINGS).format(names=[*settings], values=[*settings.values()]))
        connection.limit = seconds + GRACE_SECONDS


def postgres(settings: Settings) -> Postgres:
    """The configured application database.

    Raises:
        NotConfigured: `DATABASE_URL` is not set.
    """
    if settings.database_url is None:
        raise NotConfigured("postgres", "DATABASE_URL")
    ledgers = settings.ledger_database_url
    return Postgres(
        _plain(settings.database_url),
        dict(settings.sources),
        lock_seconds=settings.copy_lock_seconds,
        lag_seconds=settings.guard_replica_lag_seconds,
        ledger_url=None if ledgers is None else _plain(ledgers),
    )


def _plain(url: SecretStr) -> str:
    return url.get_secret_value().replace("postgresql+psycopg2://", "postgresql://", 1)
