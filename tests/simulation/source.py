"""The product: its data in Postgres and DynamoDB, and beside them in plain Python, which the auditor believes."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import astuple, dataclass, field, fields, replace
from datetime import datetime
from typing import Any, TypeAlias

import boto3
import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from tests.simulation.clock import Clock

# Environment to (key, project), project to organisation.
ENVIRONMENTS = {100: ("key-a", 10), 101: ("key-b", 10), 200: ("key-c", 20)}
PROJECTS = {10: 1, 20: 2}
MEMBERSHIP = "segment_membership_inspection"
AI_HISTORY = "ai_events_backfill_to_ch"


@dataclass(frozen=True)
class Event:
    """A row of `reporting_events`."""

    id: int
    name: str | None
    value: float | None
    value_in_business_hours: float | None
    account_id: int | None
    inbox_id: int | None
    user_id: int | None
    conversation_id: int | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class AiEvent:
    """A row of one of the two relations of AI events."""

    id: int
    timestamp: datetime
    user_id: int
    event: int
    namespace_path: str | None
    payload: Mapping[str, Any] | None
    created_at: datetime


Row: TypeAlias = Event | AiEvent


@dataclass(frozen=True)
class Segment:
    """A segment's rules; deleted ones stay."""

    project: int
    rules: list[dict[str, Any]]
    is_deleted: bool = False


@dataclass
class State:
    """What the product's Postgres holds. `flags` are by name and scope, `rows` by relation and id."""

    zones: dict[int, str | None] = field(default_factory=dict)
    rows: dict[str, dict[int, Row]] = field(default_factory=lambda: defaultdict(dict))
    segments: dict[int, Segment] = field(default_factory=dict)
    environments: dict[int, tuple[str, int]] = field(default_factory=dict)
    flags: dict[tuple[str, str], bool] = field(default_factory=dict)
    ai_is_on: bool = False
    next_id: int = 1


Identities: TypeAlias = dict[tuple[str, str], dict[str, Any]]


@dataclass
class Source:
    """The product's own writes; each is done in the store and in the state, and remembered so that it can be undone."""

    connection: psycopg.Connection
    clock: Clock
    table: str
    state: State = field(default_factory=State)
    identities: Identities = field(default_factory=dict)
    identities_log: list[tuple[datetime, Identities]] = field(default_factory=list)
    segments_log: list[tuple[datetime, dict[int, Segment]]] = field(default_factory=list)
    undo: Callable[[], None] | None = None
    late: "tuple[psycopg.Connection, str, Row] | None" = None

    def begin(self) -> None:
        """Two organisations with a project each, and two accounts without a zone."""
        for project, organisation in PROJECTS.items():
            self.connection.execute("INSERT INTO organisations VALUES (%s, 'Organisation')", [organisation])
            self.connection.execute("INSERT INTO projects VALUES (%s, %s, 'Project')", [project, organisation])
        for environment in ENVIRONMENTS:
            self.add_environment(environment)
        for account in (1, 2):
            self.connection.execute("INSERT INTO accounts (id, name) VALUES (%s, 'Account')", [account])
            self.state.zones[account] = None
        self.set_flag("reporting_events_rollup", "global", enabled=True)
        self._log()

    def new_id(self) -> int:
        self.state.next_id += 1
        return self.state.next_id - 1

    def write(self, relation: str, row: Row) -> None:
        """Insert the row, or replace the one of its id."""
        before = self.state.rows[relation].get(row.id)
        self._put(relation, row)
        self.undo = (lambda: self._put(relation, before)) if before else (lambda: self._remove(relation, row.id))

    def delete(self, relation: str, id_: int) -> None:
        before = self.state.rows[relation][id_]
        self._remove(relation, id_)
        self.undo = lambda: self._put(relation, before)

    def go_back(self) -> None:
        """The last change of a row is taken back, as if it had never been."""
        if self.undo:
            self.undo()
            self.undo = None

    def write_late(self, relation: str, row: Row) -> None:
        """Insert the row in a transaction that stays open."""
        connection = psycopg.connect(self.connection.info.dsn, password=self.connection.info.password)
        self.clock.began(connection.info.backend_pid)
        _insert(connection, relation, row)
        self.late = (connection, relation, row)

    def commit_late(self) -> None:
        if self.late:
            connection, relation, row = self.late
            connection.commit()
            self.state.rows[relation][row.id] = row
            self.forget_late()

    def forget_late(self) -> None:
        """Close the open transaction, if there is one; what was not committed never was."""
        if self.late:
            self.late[0].close()
        self.late = None

    def set_zone(self, account: int, zone: str | None) -> None:
        settings = {} if zone is None else {"reporting_timezone": zone}
        statement = "UPDATE accounts SET settings = %s, updated_at = %s WHERE id = %s"
        self.connection.execute(statement, [Jsonb(settings), self.clock.now(), account])
        self.state.zones[account] = zone

    def set_flag(self, name: str, scope: str, *, enabled: bool) -> None:
        self.connection.execute(
            "INSERT INTO feature_flags VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (name, scope) DO UPDATE SET enabled = excluded.enabled, updated_at = excluded.updated_at",
            [name, scope, enabled, self.clock.now()],
        )
        self.state.flags[name, scope] = enabled

    def switch_ai(self, *, on: bool) -> None:
        self.connection.execute(
            "INSERT INTO application_settings (id, use_clickhouse_for_analytics, updated_at) VALUES (1, %s, %s)"
            " ON CONFLICT (id) DO UPDATE SET use_clickhouse_for_analytics = excluded.use_clickhouse_for_analytics",
            [on, self.clock.now()],
        )
        self.state.ai_is_on = on

    def save_segment(self, id_: int, segment: Segment) -> None:
        now = self.clock.now()
        self.connection.execute(
            "INSERT INTO segments (id, project_id, name, rules, deleted_at, updated_at) VALUES (%s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (id) DO UPDATE SET rules = excluded.rules, deleted_at = excluded.deleted_at,"
            " updated_at = excluded.updated_at",
            [id_, segment.project, f"Segment {id_}", Jsonb(segment.rules), now if segment.is_deleted else None, now],
        )
        self.state.segments[id_] = segment
        self._log()

    def add_environment(self, environment: int) -> None:
        key, project = ENVIRONMENTS[environment]
        statement = "INSERT INTO environments VALUES (%s, %s, %s, 'Environment') ON CONFLICT DO NOTHING"
        self.connection.execute(statement, [environment, project, key])
        self.state.environments[environment] = (key, project)

    def remove_environment(self, environment: int) -> None:
        self.connection.execute("DELETE FROM environments WHERE id = %s", [environment])
        self.state.environments.pop(environment, None)

    def put_identity(self, key: str, identifier: str, traits: dict[str, Any]) -> None:
        document = {
            "composite_key": f"{key}_{identifier}",
            "environment_api_key": key,
            "identifier": identifier,
            "identity_traits": [{"trait_key": name, "trait_value": value} for name, value in traits.items()],
        }
        boto3.resource("dynamodb").Table(self.table).put_item(Item=document)
        self.identities[key, identifier] = traits
        self._log()

    def remove_identity(self, key: str, identifier: str) -> None:
        boto3.resource("dynamodb").Table(self.table).delete_item(Key={"composite_key": f"{key}_{identifier}"})
        self.identities.pop((key, identifier), None)
        self._log()

    def goes_back_to(self, state: State) -> None:
        """Postgres was restored: the state is an earlier one. DynamoDB is not concerned."""
        self.state = deepcopy(state)
        self.undo = None
        self._log()

    def _put(self, relation: str, row: Row) -> None:
        _insert(self.connection, relation, row)
        self.state.rows[relation][row.id] = row

    def _remove(self, relation: str, id_: int) -> None:
        statement = sql.SQL("DELETE FROM {} WHERE id = %s").format(sql.Identifier(relation))
        self.connection.execute(statement, [id_])
        self.state.rows[relation].pop(id_, None)

    def _log(self) -> None:
        now = self.clock.now()
        self.identities_log.append((now, deepcopy(self.identities)))
        self.segments_log.append((now, deepcopy(self.state.segments)))


def _insert(connection: psycopg.Connection, relation: str, row: Row) -> None:
    names = [column.name for column in fields(row)]
    values = [Jsonb(value) if isinstance(value, dict) else value for value in astuple(row)]
    updates = [sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in names[1:]]
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT (id) DO UPDATE SET {}").format(
        sql.Identifier(relation),
        sql.SQL(", ").join(map(sql.Identifier, names)),
        sql.SQL(", ").join([sql.Placeholder()] * len(names)),
        sql.SQL(", ").join(updates),
    )
    connection.execute(statement, values)


def moved(row: Row, moment: datetime, now: datetime) -> Row:
    """The row at another moment. Reporting events tell when they changed; AI events do not."""
    if isinstance(row, Event):
        return replace(row, created_at=moment, updated_at=now)
    return replace(row, timestamp=moment)
