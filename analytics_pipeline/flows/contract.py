"""The source contract: the columns of the application's relations that each flow reads, checked against a database."""

from collections.abc import Mapping
from dataclasses import dataclass

from analytics_pipeline.resources.postgres import Postgres

_AI_EVENT = ("id", "timestamp", "user_id", "event", "namespace_path", "payload", "created_at")

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "organisations": ("id", "name"),
    "projects": ("id", "organisation_id", "name"),
    "environments": ("id", "project_id", "api_key", "name"),
    "segments": ("id", "project_id", "name", "rules", "deleted_at", "updated_at"),
    "feature_flags": ("name", "scope", "enabled", "updated_at"),
    "accounts": ("id", "name", "settings", "updated_at"),
    "conversations": ("id", "account_id", "inbox_id", "assignee_id", "team_id", "created_at"),
    "reporting_events": (
        "id",
        "name",
        "value",
        "value_in_business_hours",
        "account_id",
        "inbox_id",
        "user_id",
        "conversation_id",
        "event_start_time",
        "event_end_time",
        "created_at",
        "updated_at",
    ),
    "application_settings": ("id", "use_clickhouse_for_analytics", "updated_at"),
    "ai_duo_chat_events": _AI_EVENT,
    "ai_code_suggestion_events": _AI_EVENT,
}

FLOWS: Mapping[str, tuple[str, ...]] = {
    "identities": ("organisations", "projects", "environments", "segments", "feature_flags"),
    "segments": ("organisations", "projects", "environments", "segments", "feature_flags"),
    "reporting": ("accounts", "conversations", "reporting_events", "feature_flags"),
    "ai_usage": ("application_settings", "ai_duo_chat_events", "ai_code_suggestion_events", "feature_flags"),
}


@dataclass(frozen=True)
class Gap:
    """A relation that is not as the contract says: `missing` columns, or all of them when the relation is absent.

    `unreadable` columns are there, but the user may not read them.
    """

    relation: str
    configured_name: str
    missing: tuple[str, ...]
    is_absent: bool
    unreadable: tuple[str, ...] = ()

    @property
    def flows(self) -> list[str]:
        """The flows that this turns off."""
        return [flow for flow, relations in FLOWS.items() if self.relation in relations]


def gaps(postgres: Postgres) -> list[Gap]:
    """What the database lacks of the contract, relation by relation."""
    found = []
    for relation, columns in COLUMNS.items():
        name = postgres.relations[relation]
        present = _columns(postgres, name)
        missing = tuple(column for column in columns if column not in present)
        unreadable = tuple(column for column in columns if present.get(column) is False)
        if missing or unreadable:
            found.append(Gap(relation, name, missing, is_absent=not present, unreadable=unreadable))
    return found


def _columns(postgres: Postgres, name: str) -> dict[str, bool]:
    """The relation's columns, and whether the user may read them. Without a right on the schema there are none."""
    rows = postgres.query(_COLUMNS_OF, parts=name.split("."))
    return dict(rows)


# By the catalogue and not by to_regclass, which fails where the user may not use the schema.
_COLUMNS_OF = """
    SELECT
        attribute.attname,
        has_schema_privilege(relation.relnamespace, 'USAGE')
        AND has_column_privilege(relation.oid, attribute.attnum, 'SELECT')
    FROM pg_class AS relation
    JOIN pg_namespace AS namespace ON namespace.oid = relation.relnamespace
    JOIN pg_attribute AS attribute ON attribute.attrelid = relation.oid
    WHERE
        relation.relkind IN ('r', 'p', 'v', 'm', 'f')
        AND relation.relname = (%(parts)s::text[])[cardinality(%(parts)s::text[])]
        AND (
            CASE WHEN cardinality(%(parts)s::text[]) = 2 THEN namespace.nspname = (%(parts)s::text[])[1]
                ELSE pg_table_is_visible(relation.oid) END
        )
        AND attribute.attnum > 0 AND NOT attribute.attisdropped
"""
