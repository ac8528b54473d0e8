"""The source contract: the columns of the application's relations that each flow reads, checked against a database."""

from collections.abc import Mapping
from dataclasses import dataclass

from analytics_pipeline.resources.postgres import Postgres

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "organisations": ("id", "name"),
    "projects": ("id", "organisation_id", "name"),
    "environments": ("id", "project_id", "api_key", "name"),
    "segments": ("id", "project_id", "name", "rules", "deleted_at", "updated_at"),
    "feature_flags": ("name", "scope", "enabled", "updated_at"),
}

FLOWS: Mapping[str, tuple[str, ...]] = {
    "identities": ("organisations", "projects", "environments", "segments", "feature_flags"),
    "segments": ("organisations", "projects", "environments", "segments", "feature_flags"),
}


@dataclass(frozen=True)
class Gap:
    """A relation that is not as the contract says: `missing` columns, or all of them when the relation is absent."""

    relation: str
    configured_name: str
    missing: tuple[str, ...]
    is_absent: bool

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
        if missing:
            found.append(Gap(relation, name, missing, is_absent=not present))
    return found


def _columns(postgres: Postgres, name: str) -> set[str]:
    rows = postgres.query(
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%(name)s) AND attnum > 0 AND NOT attisdropped",
        name=".".join(f'"{part}"' for part in name.split(".")),
    )
    return {column for (column,) in rows}
