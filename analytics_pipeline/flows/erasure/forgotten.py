"""Subjects that were forgotten, for everybody who writes: nothing of them is stored again, wherever it comes from.

Rows that are on their way into a table are looked at in their staging table, as sets; single records by their hash.
Where nobody was forgotten, that costs one question to Postgres.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from analytics_pipeline.flows.erasure.errors import KeyMissing, SubjectForgotten
from analytics_pipeline.flows.erasure.naming import CLICKHOUSE
from analytics_pipeline.flows.erasure.subjects import Kind, digest, in_clickhouse
from analytics_pipeline.resources.clickhouse.client import ClickHouse
from analytics_pipeline.resources.clickhouse.limits import listed
from analytics_pipeline.resources.clickhouse.names import quoted
from analytics_pipeline.resources.postgres import Postgres


@dataclass(frozen=True)
class Forgotten:
    """The hashes of who was forgotten, by kind, and the key that they were made with."""

    key: bytes = field(repr=False)
    hashes: Mapping[Kind, frozenset[bytes]]

    def any_of(self, *kinds: Kind) -> bool:
        """Whether anybody of these kinds was forgotten."""
        return any(self.hashes.get(kind) for kind in kinds)

    def has(self, kind: Kind, *names: object) -> bool:
        """Whether the subject of these names was forgotten."""
        known = self.hashes.get(kind)
        return known is not None and digest(self.key, kind, *map(str, names)) in known

    def refuse(self, kind: Kind, *names: object) -> None:
        """Let nobody ask for anything of the subject, if it was forgotten.

        Raises:
            SubjectForgotten: it was.
        """
        if self.has(kind, *names):
            raise SubjectForgotten(kind, " ".join(map(str, names)))

    def has_project(self, project_id: int, organisation_id: int) -> bool:
        """Whether the project was forgotten, with the organisation that it has or had."""
        return self.has("project", project_id) or self.has("organisation", organisation_id)

    def has_environment(self, key: str, organisation_id: int | None = None) -> bool:
        """Whether the environment of that key was forgotten, with its organisation."""
        return self.has("environment", key) or (
            organisation_id is not None and self.has("organisation", organisation_id)
        )

    def has_identity(self, environment: str, identifier: str) -> bool:
        """Whether the identity was forgotten, by itself or with its environment."""
        return self.has("identity", environment, identifier) or self.has_environment(environment)

    def condition(self, kind: Kind, columns: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
        """The condition of ClickHouse that these columns name somebody of the kind who was forgotten."""
        return hashed(self.key, kind, columns, self.hashes.get(kind, frozenset()))


NOBODY = Forgotten(b"", {})


def hashed(key: bytes, kind: Kind, columns: tuple[str, ...], hashes: frozenset[bytes]) -> tuple[str, dict[str, Any]]:
    """The condition of ClickHouse that these columns name a subject with one of the hashes, and its parameters."""
    array, parameters = listed(f"hashes_{kind}", "String", sorted(one.hex().upper() for one in hashes))
    return f"{in_clickhouse(kind, columns)} IN {array}", {"erasure_key": key.hex(), **parameters}


def key_of(postgres: Postgres) -> bytes:
    """The installation's key.

    Raises:
        KeyMissing: it is gone.
    """
    rows = postgres.query("SELECT key FROM analytics_pipeline.erasure_key")
    if not rows:
        raise KeyMissing(
            "analytics_pipeline.erasure_key is empty, so nobody can tell who was forgotten; nothing was changed."
            " Restore it from a backup of the schema analytics_pipeline"
        )
    return bytes(rows[0][0])


def forgotten(postgres: Postgres) -> Forgotten:
    """Everybody who was forgotten up to this moment.

    Raises:
        KeyMissing: the key is gone.
    """
    found: dict[Kind, set[bytes]] = {}
    rows = postgres.query("SELECT kind, subject FROM analytics_pipeline.erasures")
    for kind, subject in rows:
        found.setdefault(kind, set()).add(bytes(subject))
    return Forgotten(key_of(postgres), {kind: frozenset(ones) for kind, ones in found.items()}) if rows else NOBODY


@dataclass
class Watch:
    """The same for who asks many times a second: the ledger is read again when it has grown."""

    postgres: Postgres
    _known: Forgotten = field(default_factory=lambda: NOBODY)

    def now(self) -> Forgotten:
        ((count,),) = self.postgres.query("SELECT count(*) FROM analytics_pipeline.erasures")
        if count != sum(map(len, self._known.hashes.values())):
            self._known = forgotten(self.postgres)
        return self._known


def scrub(clickhouse: ClickHouse, who: Forgotten, table: str, staging: str) -> bool:
    """Remove whoever was forgotten from what is staged for the table; returns whether anybody was there."""
    named = CLICKHOUSE[table]
    found = False
    for kind, columns in (*named.rows.items(), *((kind, (one,)) for kind, one in named.blanked.items())):
        if not who.any_of(kind):
            continue
        condition, parameters = who.condition(kind, columns)
        # Names are far fewer than rows.
        values = ", ".join(f"{column} AS name_{number}" for number, column in enumerate(columns))
        names = tuple(f"name_{number}" for number in range(len(columns)))
        distinct, _ = who.condition(kind, names)
        looked = f"SELECT count() FROM (SELECT DISTINCT {values} FROM {quoted(staging)}) WHERE {distinct}"
        if clickhouse.scalar(looked, **parameters):
            found = True
            change = "DELETE" if kind in named.rows else f"UPDATE {named.blanked[kind]} = NULL"
            clickhouse.execute(
                f"ALTER TABLE {quoted(staging)} {change} WHERE {condition} SETTINGS mutations_sync = 2", **parameters
            )
    return found
