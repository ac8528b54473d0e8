"""Whom a command forgets, in clear: the subject, and of an organisation its projects and environments."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from psycopg import sql

from analytics_pipeline.flows.contract import found_columns
from analytics_pipeline.flows.erasure.forgotten import hashed
from analytics_pipeline.flows.erasure.naming import Columns, Named
from analytics_pipeline.flows.erasure.subjects import TYPES, Kind, Subject
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.limits import listed
from analytics_pipeline.resources.postgres import Postgres


@dataclass(frozen=True)
class Target:
    """The subject and its parts. What finds rows names them, so that indexes help; what is kept of it does not."""

    subject: Subject
    parts: tuple[Subject, ...]
    key: bytes = field(repr=False)

    @property
    def all(self) -> tuple[Subject, ...]:
        return (self.subject, *self.parts)

    def of(self, kind: Kind) -> list[Subject]:
        return [one for one in self.all if one.kind == kind]

    def names(self, environment: str, identifier: str) -> bool:
        """Whether an identity is, or belongs to, somebody who is forgotten."""
        return any(
            one.names in ((environment, identifier), (environment,))
            for one in self.all
            if one.kind in ("identity", "environment")
        )

    def rows(self, named: Named) -> tuple[str, dict[str, Any]]:
        """The condition of ClickHouse that a row is theirs, in clear, and its parameters."""
        return _any_of(self._clear(kind, columns) for kind, columns in named.rows.items() if self.of(kind))

    def hidden_rows(self, named: Named) -> tuple[str, dict[str, Any]]:
        """The same by hashes: ClickHouse keeps the text of what it was told to remove."""
        return _any_of(self.hidden(kind, columns) for kind, columns in named.rows.items() if self.of(kind))

    def hidden(self, kind: Kind, columns: Columns) -> tuple[str, dict[str, Any]]:
        """The condition of ClickHouse, by hashes, that these columns name one of that kind."""
        return hashed(self.key, kind, columns, frozenset(one.digest(self.key) for one in self.of(kind)))

    def _clear(self, kind: Kind, columns: Columns) -> tuple[str, dict[str, Any]]:
        if len(columns) == 1:
            values = [_typed(kind, one.names[0]) for one in self.of(kind)]
            array, parameters = listed(f"names_{kind}", TYPES[kind][0], values)
            return f"{columns[0]} IN {array}", parameters
        (only,) = self.of(kind)
        pairs = enumerate(zip(columns, TYPES[kind], only.names, strict=True))
        parameters = {f"name_{number}": value for number, (_, _, value) in pairs}
        return (
            " AND ".join(f"{column} = {{name_{n}:{TYPES[kind][n]}}}" for n, column in enumerate(columns)),
            parameters,
        )

    def in_postgres(self, named: Named) -> tuple[sql.Composed, list[Any]] | None:
        """The condition of Postgres that a row is theirs, and its parameters; None: no column can name them."""
        theirs = [(columns[0], self.of(kind)) for kind, columns in named.rows.items() if self.of(kind)]
        if not theirs:
            return None
        conditions = [sql.SQL(f"({column})::text = ANY(%s)") for column, _ in theirs]
        return sql.SQL(" OR ").join(conditions), [[one.names[0] for one in ones] for _, ones in theirs]


def target_of(postgres: Postgres, clickhouse: ClickHouse, subject: Subject, key: bytes) -> Target:
    """The subject with its parts, as far as any store knows them."""
    if subject.kind != "organisation":
        return Target(subject, (), key)
    organisation = int(subject.names[0])
    # Where only events are sent, the product has no such relations.
    has_projects = all(found_columns(postgres, ["projects", "environments"]).values())
    pairs = postgres.query(_OF_SOURCE, organisation=organisation) if has_projects else []
    pairs += postgres.query(_OF_LEDGERS, organisation=organisation)
    pairs += clickhouse.query(_OF_COUNTS, organisation=organisation)
    projects = sorted({str(project) for project, _ in pairs if project is not None})
    environments = sorted({environment for _, environment in pairs if environment is not None})
    parts = [Subject("project", (one,)) for one in projects] + [Subject("environment", (one,)) for one in environments]
    return Target(subject, tuple(parts), key)


def _typed(kind: Kind, name: str) -> object:
    return int(name) if TYPES[kind] == ("UInt64",) else name


def _any_of(conditions: Iterator[tuple[str, dict[str, Any]]]) -> tuple[str, dict[str, Any]]:
    """One of them; where no column can name the subject, nothing is theirs."""
    found = list(conditions)
    parameters = {name: value for _, own in found for name, value in own.items()}
    return " OR ".join(f"({condition})" for condition, _ in found) or "false", parameters


_OF_SOURCE = """
    SELECT project.id, environment.api_key FROM {projects} AS project
    LEFT JOIN {environments} AS environment ON environment.project_id = project.id
    WHERE project.organisation_id = %(organisation)s
"""
_OF_LEDGERS = """
    SELECT project_id, environment_key FROM analytics_pipeline.identity_loads WHERE organisation_id = %(organisation)s
    UNION SELECT project_id, NULL FROM analytics_pipeline.segment_refreshes WHERE organisation_id = %(organisation)s
"""
_OF_COUNTS = """
    SELECT DISTINCT project_id, environment_key FROM segment_counts WHERE organisation_id = {organisation:UInt64}
"""
