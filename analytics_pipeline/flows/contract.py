"""The source contract: the columns of the application's relations that each flow reads, checked against a database."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from analytics_pipeline.errors import Refused
from analytics_pipeline.flows.source_types import READINGS, Kind, Reading
from analytics_pipeline.resources.postgres import Postgres
from analytics_pipeline.resources.sql_files import sql_file

_AI_EVENT = {
    "id": Kind.KEY,
    "timestamp": Kind.MOMENT,
    "user_id": Kind.KEY,
    "event": Kind.KEY,
    "namespace_path": Kind.TEXT,
    "payload": Kind.JSON,
    "created_at": Kind.MOMENT,
}

COLUMNS: Mapping[str, Mapping[str, Kind]] = {
    "organisations": {"id": Kind.KEY, "name": Kind.TEXT},
    "projects": {"id": Kind.KEY, "organisation_id": Kind.KEY, "name": Kind.TEXT},
    "environments": {"id": Kind.KEY, "project_id": Kind.KEY, "api_key": Kind.TEXT, "name": Kind.TEXT},
    "segments": {
        "id": Kind.KEY,
        "project_id": Kind.KEY,
        "name": Kind.TEXT,
        "rules": Kind.JSON,
        "deleted_at": Kind.MOMENT_OR_DAY,
        "updated_at": Kind.MOMENT,
    },
    "feature_flags": {"name": Kind.TEXT, "scope": Kind.TEXT, "enabled": Kind.BOOLEAN, "updated_at": Kind.MOMENT},
    "accounts": {"id": Kind.KEY, "name": Kind.TEXT, "settings": Kind.JSON, "updated_at": Kind.MOMENT},
    "conversations": {
        "id": Kind.KEY,
        "account_id": Kind.KEY,
        "inbox_id": Kind.KEY,
        "assignee_id": Kind.KEY,
        "team_id": Kind.KEY,
        "created_at": Kind.MOMENT,
    },
    "reporting_events": {
        "id": Kind.KEY,
        "name": Kind.TEXT,
        "value": Kind.NUMBER,
        "value_in_business_hours": Kind.NUMBER,
        "account_id": Kind.KEY,
        "inbox_id": Kind.KEY,
        "user_id": Kind.KEY,
        "conversation_id": Kind.KEY,
        "event_start_time": Kind.MOMENT_OR_DAY,
        "event_end_time": Kind.MOMENT_OR_DAY,
        "created_at": Kind.MOMENT,
        "updated_at": Kind.MOMENT,
    },
    "application_settings": {
        "id": Kind.KEY,
        "use_clickhouse_for_analytics": Kind.BOOLEAN,
        "updated_at": Kind.MOMENT,
    },
    "ai_duo_chat_events": _AI_EVENT,
    "ai_code_suggestion_events": _AI_EVENT,
    # `argument` is none of them: it never leaves, so it is never read.
    "event_logs": {
        "id": Kind.KEY,
        "name": Kind.TEXT,
        "user_id": Kind.KEY,
        "anonymous_user_id": Kind.TEXT,
        "source": Kind.TEXT,
        "version": Kind.TEXT,
        "timestamp": Kind.MOMENT,
        "feature_flags": Kind.JSON,
        "cohort_id": Kind.DAY,
        "public_argument": Kind.JSON,
        "first_source_url": Kind.TEXT,
        "last_source_url": Kind.TEXT,
        "referrer": Kind.TEXT,
        "device_id": Kind.TEXT,
        "insert_id": Kind.TEXT,
    },
    "event_logs_export_allowlist": {"event_name": Kind.TEXT},
}

FLOWS: Mapping[str, tuple[str, ...]] = {
    "identities": ("organisations", "projects", "environments", "segments", "feature_flags"),
    "segments": ("organisations", "projects", "environments", "segments", "feature_flags"),
    "reporting": ("accounts", "conversations", "reporting_events", "feature_flags"),
    "ai_usage": ("application_settings", "ai_duo_chat_events", "ai_code_suggestion_events", "feature_flags"),
    "usage_export": ("application_settings", "event_logs", "event_logs_export_allowlist"),
    # Services send their events; nothing of the source is read.
    "product_events": (),
}

# Their rows are copied by statements that convert what they read; all others are read as they stand.
COPIED = frozenset({"reporting_events", "ai_duo_chat_events", "ai_code_suggestion_events"})


class WrongTypes(Refused):
    """Columns of the source have types that cannot be read as what the contract says; nothing was read."""


@dataclass(frozen=True)
class FoundColumn:
    """A column of a relation as a database has it; its type as `source_types` calls it."""

    name: str
    type: str
    is_readable: bool


@dataclass(frozen=True)
class Mistyped:
    """A column whose type cannot be read as the kind that the contract says."""

    column: str
    type: str
    kind: Kind

    def __str__(self) -> str:
        return f"{self.column} is {self.type}, {self.kind.value} is needed"


@dataclass(frozen=True)
class Gap:
    """A relation that is not as the contract says: `missing` columns, or all of them when the relation is absent.

    `unreadable` columns are there, but the user may not read them; `mistyped` ones are something else.
    """

    relation: str
    configured_name: str
    missing: tuple[str, ...]
    is_absent: bool
    unreadable: tuple[str, ...] = ()
    mistyped: tuple[Mistyped, ...] = ()

    @property
    def flows(self) -> list[str]:
        """The flows that this turns off."""
        return [flow for flow, relations in FLOWS.items() if self.relation in relations]


Found = Mapping[str, Mapping[str, FoundColumn]]


def found_columns(postgres: Postgres, relations: Collection[str]) -> Found:
    """The columns of each of the source relations by name; one that is absent has none.

    Asks the catalogue alone, so that no relation of the product is locked, not even for a moment.
    """
    names = {relation: postgres.relations[relation] for relation in relations}
    rows = postgres.query(sql_file(__package__, "relation_columns.sql"), names=[*names.values()])
    found: dict[str, dict[str, FoundColumn]] = {name: {} for name in names.values()}
    for name, *column in rows:
        found[name][column[0]] = FoundColumn(*column)
    return {relation: found[name] for relation, name in names.items()}


def gaps(postgres: Postgres) -> list[Gap]:
    """Gaps between the database and the contract, relation by relation."""
    found = found_columns(postgres, COLUMNS)
    ones = (_gap(relation, postgres.relations[relation], found[relation]) for relation in COLUMNS)
    return [gap for gap in ones if gap.missing or gap.unreadable or gap.mistyped]


def _gap(relation: str, name: str, present: Mapping[str, FoundColumn]) -> Gap:
    columns = COLUMNS[relation]
    missing = tuple(column for column in columns if column not in present)
    unreadable = tuple(column for column in columns if column in present and not present[column].is_readable)
    return Gap(relation, name, missing, not present, unreadable, mistyped(relation, present))


def mistyped(relation: str, present: Mapping[str, FoundColumn]) -> tuple[Mistyped, ...]:
    """Those of the relation's columns that cannot be read; what is missing is not among them."""
    return tuple(
        Mistyped(column, present[column].type, kind)
        for column, kind in COLUMNS[relation].items()
        if column in present and reading(relation, column, present[column].type) is None
    )


def reading(relation: str, column: str, type_: str) -> Reading | None:
    """How the column is read when it has that type; None: it cannot be."""
    found = READINGS[COLUMNS[relation][column]].get(type_)
    return None if found and found.only_copied and relation not in COPIED else found


def require(postgres: Postgres, flow: str) -> None:
    """Refuse a source whose columns have types that the flow cannot read right. What is missing is not asked here.

    Raises:
        WrongTypes: with every such column of the flow's relations.
    """
    relations = FLOWS[flow]
    found = found_columns(postgres, relations)
    refuse(postgres, {relation: mistyped(relation, found[relation]) for relation in relations})


def refuse(postgres: Postgres, mistyped: Mapping[str, Collection[Mistyped]]) -> None:
    """Raise WrongTypes when there is any."""
    texts = [f"{postgres.relations[relation]}.{one}" for relation, ones in mistyped.items() for one in ones]
    if texts:
        raise WrongTypes(
            f"The source cannot be read right: {'; '.join(texts)}. Nothing was read or changed."
            " For views to point at instead, run: analytics-pipeline doctor --views"
        )


def notes(postgres: Postgres) -> dict[str, list[str]]:
    """Sentences by relation about columns that are read, but not as they stand."""
    found = found_columns(postgres, COLUMNS)
    return {
        relation: texts
        for relation, columns in COLUMNS.items()
        if (texts := [*_notes(relation, {name: found[relation][name] for name in columns if name in found[relation]})])
    }


def _notes(relation: str, present: Mapping[str, FoundColumn]) -> Iterator[str]:
    for name, column in present.items():
        one = reading(relation, name, column.type)
        if one and one.note:
            yield f"{name} is {column.type}: {one.note}"
