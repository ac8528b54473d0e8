"""The stores as the service uses them, one pooled client of each per process, and the rows that a caller may read."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from threading import Lock
from typing import Any

from openfeature.client import OpenFeatureClient

from analytics_pipeline.config import Settings
from analytics_pipeline.resources.clickhouse.accounting import Cost, Tag
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.connection import connect
from analytics_pipeline.resources.clickhouse.read_only import READ_PROFILE, STATEMENT_SECONDS
from analytics_pipeline.resources.feature_flags import feature_flags
from analytics_pipeline.resources.postgres import Postgres, postgres

POSTGRES_CONNECTIONS = 8


class Connections:
    """The process's clients. Safe to share between threads; to be closed at the end."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._opened = ExitStack()
        self._lock = Lock()
        # A ClickHouse that is waited for keeps nobody from Postgres.
        self._clickhouse_lock = Lock()
        self._clickhouse: ClickHouse | None = None
        self._postgres: Postgres | None = None

    def postgres(self) -> Postgres:
        """The application's database with kept connections.

        Raises:
            NotConfigured: `DATABASE_URL` is not set.
        """
        with self._lock:
            if self._postgres is None:
                pooled = postgres(self.settings).pooled(POSTGRES_CONNECTIONS)
                self._postgres = self._opened.enter_context(pooled)
            return self._postgres

    def clickhouse(self) -> ClickHouse:
        """ClickHouse under the read-only profile; one that does not answer is asked again at the next call.

        Raises:
            NotConfigured: `CLICKHOUSE_URL` is not set.
            ConnectionError: it does not answer, or refuses.
        """
        with self._clickhouse_lock:
            if self._clickhouse is None:
                opened = connect(self.settings, Tag("api", "read"), attempts=2, timeout_seconds=STATEMENT_SECONDS)
                self._clickhouse = replace(self._opened.enter_context(opened), extra_settings=READ_PROFILE)
            return self._clickhouse

    def flags(self) -> OpenFeatureClient:
        """The feature flags as they are now. The process has one provider, which somebody else may have replaced.

        Raises:
            FlagsUnavailable: their provider cannot begin.
        """
        return feature_flags(self.settings, self.postgres())

    def close(self) -> None:
        self._opened.close()


@dataclass(frozen=True)
class Scope:
    """The rows that a caller may read: of one organisation, of one account, or of everybody."""

    organisation_id: int | None = None
    account_id: int | None = None

    @property
    def is_everything(self) -> bool:
        return self.organisation_id is None and self.account_id is None

    @property
    def tenant(self) -> str | None:
        """The tenant as the ledgers name it, e.g. `account:7`; None: everybody."""
        if self.account_id is not None:
            return f"account:{self.account_id}"
        return None if self.organisation_id is None else f"organisation:{self.organisation_id}"


EVERYTHING = Scope()


@dataclass(frozen=True)
class Caller:
    """A party that asks. `key` tells callers apart for their limits, and is no secret."""

    key: str
    scope: Scope


@dataclass(frozen=True)
class Stores:
    """The stores as one request may read them, and what reading has cost so far.

    Only `access` makes them, for a subject that it has granted. `narrowed` are further settings of each statement of
    ClickHouse, which hide the rows of others.
    """

    connections: Connections
    narrowed: Mapping[str, Any]
    cost: Cost = field(default_factory=Cost)

    @property
    def settings(self) -> Settings:
        return self.connections.settings

    @property
    def postgres(self) -> Postgres:
        return self.connections.postgres()

    @property
    def flags(self) -> OpenFeatureClient:
        return self.connections.flags()

    @cached_property
    def clickhouse(self) -> ClickHouse:
        found = self.connections.clickhouse()
        return replace(found, cost=self.cost, extra_settings={**found.extra_settings, **self.narrowed})
