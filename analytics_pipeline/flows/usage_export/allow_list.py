"""The events that leave, and the keys of their payloads that do: the product's allow list and our own."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from analytics_pipeline.flows.usage_export.errors import AllowedByProduct
from analytics_pipeline.resources.postgres import Postgres

# Of a rule for keys: every key, or every event.
ALL = "*"


@dataclass(frozen=True)
class AllowList:
    """The names of events that leave, and the keys that leave with each; of a name without keys none does."""

    names: tuple[str, ...]
    keys: Mapping[str, Collection[str]]

    @property
    def names_by_keys(self) -> Mapping[frozenset[str], list[str]]:
        """The names with which the same keys leave; names with which none does are left out."""
        found = defaultdict[frozenset[str], list[str]](list)
        for name in self.names:
            if name in self.keys:
                found[frozenset(self.keys[name])].append(name)
        return found


@dataclass(frozen=True)
class KeyRule:
    """The keys that a rule lets leave with events of a name, or with every event; `is_allowed`: such events leave."""

    event: str
    keys: tuple[str, ...]
    is_allowed: bool


@dataclass(frozen=True)
class AllowedName:
    """A name and which list it is in: `product`, `pipeline` or both; `keys` of its payloads leave."""

    name: str
    lists: tuple[str, ...]
    keys: tuple[str, ...]


def allow_list(postgres: Postgres) -> AllowList:
    """All that may leave at this moment."""
    names = {*_product(postgres), *_own(postgres)}
    fields = postgres.query("SELECT event_name, key FROM analytics_pipeline.event_logs_export_fields")
    keys = {name: {key for event, key in fields if event in (name, ALL)} for name in names}
    return AllowList(tuple(sorted(names)), {name: found for name, found in keys.items() if found})


def listed(postgres: Postgres) -> list[AllowedName]:
    """Every allowed name, by name."""
    allowed = allow_list(postgres)
    lists = {"product": _product(postgres), "pipeline": _own(postgres)}
    return [
        AllowedName(
            name,
            tuple(which for which, names in lists.items() if name in names),
            tuple(sorted(allowed.keys.get(name, ()))),
        )
        for name in allowed.names
    ]


def rules(postgres: Postgres) -> list[KeyRule]:
    """Every rule for keys, by name; also of names that are not allowed, with which nothing leaves."""
    allowed = {ALL, *_product(postgres), *_own(postgres)}
    found = postgres.query(
        "SELECT event_name, array_agg(key ORDER BY key) FROM analytics_pipeline.event_logs_export_fields"
        " GROUP BY event_name ORDER BY event_name"
    )
    return [KeyRule(name, tuple(keys), name in allowed) for name, keys in found]


def add(postgres: Postgres, names: Sequence[str]) -> list[str]:
    """Let events of these names leave from now on; returns those that are new in our list, in the order given."""
    with postgres.ledgers.connect() as connection:
        rows = connection.execute(
            "INSERT INTO analytics_pipeline.event_logs_export_allowlist (event_name) SELECT DISTINCT unnest(%s::text[])"
            " ON CONFLICT DO NOTHING RETURNING event_name",
            [list(names)],
        ).fetchall()
    added = {name for (name,) in rows}
    return [name for name in dict.fromkeys(names) if name in added]


def remove(postgres: Postgres, names: Sequence[str]) -> list[str]:
    """Let no event of these names leave any more; returns those that were in our list.

    Raises:
        AllowedByProduct: some are in the product's own list, which we only read; nothing was changed.
    """
    if theirs := sorted({*names} & _product(postgres)):
        raise AllowedByProduct(
            f"{', '.join(theirs)}: allowed by the product's own list ({postgres.relations[PRODUCT_LIST]}), which is"
            " only read; nothing was changed. Remove it there"
        )
    with postgres.ledgers.connect() as connection:
        rows = connection.execute(
            "DELETE FROM analytics_pipeline.event_logs_export_allowlist WHERE event_name = ANY(%s)"
            " RETURNING event_name",
            [list(names)],
        ).fetchall()
    removed = {name for (name,) in rows}
    return [name for name in dict.fromkeys(names) if name in removed]


def allow_keys(postgres: Postgres, name: str, keys: Sequence[str]) -> None:
    """Let these keys leave with events of the name."""
    with postgres.ledgers.connect() as connection:
        connection.execute(
            "INSERT INTO analytics_pipeline.event_logs_export_fields (event_name, key) SELECT %s, unnest(%s::text[])"
            " ON CONFLICT DO NOTHING",
            [name, list(keys)],
        )


def forbid_keys(postgres: Postgres, name: str, keys: Sequence[str]) -> None:
    """Let these keys no longer leave with events of the name."""
    with postgres.ledgers.connect() as connection:
        connection.execute(
            "DELETE FROM analytics_pipeline.event_logs_export_fields WHERE event_name = %s AND key = ANY(%s)",
            [name, list(keys)],
        )


def keys_of(postgres: Postgres, name: str) -> list[str]:
    """The keys that the rules of this very name let leave, in order."""
    rows = postgres.query(
        "SELECT key FROM analytics_pipeline.event_logs_export_fields WHERE event_name = %(name)s ORDER BY key",
        name=name,
    )
    return [key for (key,) in rows]


PRODUCT_LIST = "event_logs_export_allowlist"


def _product(postgres: Postgres) -> set[str]:
    return {name for (name,) in postgres.query("SELECT event_name FROM {event_logs_export_allowlist}") if name}


def _own(postgres: Postgres) -> set[str]:
    rows = postgres.query("SELECT event_name FROM analytics_pipeline.event_logs_export_allowlist")
    return {name for (name,) in rows}
