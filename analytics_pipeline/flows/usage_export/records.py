"""Reads the event log: what comes next for a sink, and the records of it as Postgres itself writes them.

No row of the log passes through Python one by one, and nothing that is not allowed to leave reaches the process.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from psycopg import sql
from psycopg.rows import TupleRow

from analytics_pipeline.flows.erasure.forgotten import Forgotten, forgotten
from analytics_pipeline.flows.erasure.subjects import in_postgres
from analytics_pipeline.flows.usage_export.allow_list import ALL, AllowList
from analytics_pipeline.flows.usage_export.source import LARGEST_ID, event_logs
from analytics_pipeline.resources.postgres import Connection, Postgres
from analytics_pipeline.resources.sinks.base import Batch, Refusal
from analytics_pipeline.resources.sql_files import sql_file

# A statement looks at so many rows of the log at most, whatever their names.
ROWS_PER_LOOK = 100_000
# A batch is in memory as a whole. It ends with the record that reaches this.
BYTES_PER_BATCH = 16 << 20
# Late events are few, so their sizes are not looked at before they are read.
_LATE_RECORDS = 1_000
EMPTY = "{}"
_FILES = _PLAN, _LATE, _RECORDS = "plan.sql", "late.sql", "records.sql"
_PAYLOADS = ("feature_flags", "public_argument")
_TAKEN_OUT = '"not exported: neither text nor number nor boolean"'


@dataclass(frozen=True)
class Instance:
    """Where records come from, as each of them says."""

    site_id: str
    deploy_type: str

    @property
    def prefix(self) -> str:
        """The first half of every record's id, of version 8 of UUIDs; the other half is the event's id."""
        digits = sha256(self.site_id.encode()).hexdigest()
        return f"{digits[:12]}8{digits[12:15]}"


@dataclass(frozen=True)
class Plan:
    """A batch to be: the ids of its `records` events, from `first_id` to `last_id`.

    `ids`, `gaps` and `found` are multiranges as Postgres writes them. `to` is how far the log was looked at; `gaps` are
    ids before it that no committed event had, while transactions before `open_until` may have been open. `found` are
    ids that were gaps until now.
    """

    ids: str
    records: int
    to: int
    open_until: str
    first_id: int | None = None
    last_id: int | None = None
    gaps: str = EMPTY
    found: str = EMPTY


@dataclass(frozen=True)
class Read:
    """The records of a plan; `refused` are events that no sink can be given. `batch` is None: nothing is."""

    batch: Batch | None
    refused: tuple[Refusal, ...]


@dataclass(frozen=True)
class EventReader:
    """Reads on one connection to the source, in autocommit; each answer is of a moment of its own.

    `statements` are the texts by the names of their files.
    """

    connection: Connection
    statements: Mapping[str, str]
    allowed: AllowList
    instance: Instance
    who: Forgotten

    @classmethod
    def on(cls, connection: Connection, postgres: Postgres, allowed: AllowList, instance: Instance) -> "EventReader":
        return cls(connection, _statements(connection, postgres, allowed), allowed, instance, forgotten(postgres))

    def next(
        self,
        after: int,
        records: int,
        *,
        rows: int = ROWS_PER_LOOK,
        until: int = LARGEST_ID,
        names: Sequence[str] | None = None,
    ) -> Plan | None:
        """The allowed events among the next `rows` after an id, at most so many records; None: there is no event."""
        wanted = self.allowed.names if names is None else names
        row = self._row(
            _PLAN,
            after=after,
            until=until,
            names=list(wanted),
            records=records,
            rows=rows,
            bytes=BYTES_PER_BATCH,
        )
        to, ids, count, gaps, open_until, first_id, last_id = row
        return None if to is None else Plan(ids, count, to, open_until, first_id, last_id, gaps)

    def late(self, gaps: str, records: int, bookmark: int) -> tuple[Plan, str] | None:
        """Events that have come into the gaps, of any name at most so many, and the gaps that remain; None: none."""
        rows = min(records, _LATE_RECORDS)
        row = self._row(_LATE, gaps=gaps, names=list(self.allowed.names), rows=rows)
        found, remaining, found_count, ids, count, open_until, first_id, last_id = row
        plan = Plan(ids, count, bookmark, open_until, first_id, last_id, found=found)
        return (plan, remaining) if found_count else None

    def horizon(self) -> str:
        """All transactions before this one have ended, and what they wrote is seen by what is read from now on."""
        row = self.connection.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text").fetchone()
        assert row is not None
        return str(row[0])

    def read(self, ids: str) -> Read:
        """The records of these events, as far as they are still there and still allowed to leave."""
        row = self._row(
            _RECORDS,
            ids=ids,
            names=list(self.allowed.names),
            site_id=self.instance.site_id,
            site_prefix=self.instance.prefix,
            deploy_type=self.instance.deploy_type,
            erasure_key=self.who.key,
            forgotten=list(self.who.hashes.get("user", ())),
        )
        found, lines, refused_ids, refusals = row
        refused = tuple(Refusal(*one) for one in zip(refused_ids or (), refusals or (), strict=True))
        return Read(Batch(tuple(found), bytes(lines)) if found else None, refused)

    def _row(self, name: str, **parameters: Any) -> TupleRow:
        with self.connection.cursor(binary=True) as cursor:
            row = cursor.execute(self.statements[name].encode(), parameters).fetchone()
        assert row is not None
        return row


def _statements(connection: Connection, postgres: Postgres, allowed: AllowList) -> Mapping[str, str]:
    """Each with the product's event log in its place, put together once: there are many batches."""
    parts = {
        "event_logs": event_logs(postgres),
        "hashed_user": sql.SQL(in_postgres("user", ("source.user_id",))),
        **{f"allowed_{column}": _allowed(connection, column, allowed.names_by_keys) for column in _PAYLOADS},
    }
    return {name: sql.SQL(sql_file(__package__, name)).format(**parts).as_string(connection) for name in _FILES}


def _allowed(connection: Connection, column: str, rules: Mapping[frozenset[str], list[str]]) -> sql.Composed:
    """Of a payload what may leave, as the text of an object: what to look for in it is told by the event's name alone.

    The rules are part of the statement: as rows, each event would pay for looking them up and for taking the payload
    apart, which takes three times as long.
    """
    payload = sql.Identifier("events", column)
    cases = [
        sql.SQL("WHEN events.name = ANY({}::text[]) THEN {}").format(
            _literal(connection, names),
            sql.SQL(_EVERY).format(payload=payload, taken_out=sql.Literal(_TAKEN_OUT))
            if ALL in keys
            else _members(connection, payload, keys),
        )
        for keys, names in rules.items()
    ]
    return sql.SQL("CASE WHEN jsonb_typeof({}) IS DISTINCT FROM 'object' THEN '{{}}' {} ELSE '{{}}' END").format(
        payload, sql.SQL(" ").join(cases)
    )


def _members(connection: Connection, payload: sql.Identifier, keys: Collection[str]) -> sql.Composed:
    """An object of these members, as far as they are there, in the order in which `jsonb` has them."""
    ordered = sorted((key.encode() for key in keys), key=lambda key: (len(key), key))
    members = [
        sql.SQL(_MEMBER).format(
            payload=payload,
            key=_literal(connection, key.decode()),
            label=_literal(connection, f"{json.dumps(key.decode(), ensure_ascii=False)}: "),
            taken_out=sql.Literal(_TAKEN_OUT),
        )
        for key in ordered
    ]
    return sql.SQL("'{{' || concat_ws(', ', {}) || '}}'").format(sql.SQL(", ").join(members))


def _literal(connection: Connection, value: str | list[str]) -> sql.SQL:
    """The value as a statement that takes parameters writes it."""
    return sql.SQL(sql.Literal(value).as_string(connection).replace("%", "%%"))


_MEMBER = """
    {label} || CASE
        WHEN jsonb_typeof({payload} -> {key}) IN ('string', 'number', 'boolean') THEN ({payload} -> {key})::text
        WHEN {payload} ? {key} THEN {taken_out}
    END
"""

_EVERY = """
    CASE WHEN {payload} @? '$.*.type() ? (@ == "object" || @ == "array" || @ == "null")' THEN (
        SELECT jsonb_object_agg(
            member.key, CASE WHEN jsonb_typeof(member.value) IN ('string', 'number', 'boolean')
                THEN member.value ELSE {taken_out}::jsonb END
        )::text FROM jsonb_each({payload}) AS member
    ) ELSE {payload}::text END
"""
