"""Rows of the product's small relations that lack a key: nothing can be counted for them, and nobody is stopped."""

from collections import defaultdict
from collections.abc import Mapping

from psycopg import sql

from analytics_pipeline.flows.contract import FLOWS
from analytics_pipeline.flows.dead_letters import DeadLetter, replace_dead_letters, units_with_dead_letters
from analytics_pipeline.resources.postgres import Postgres

# A table has none without them; a view with an outer join may. Copied relations refuse such rows themselves.
KEYS: Mapping[str, tuple[str, ...]] = {
    "projects": ("id", "organisation_id"),
    "environments": ("id", "project_id", "api_key"),
    "segments": ("id", "project_id"),
    "accounts": ("id",),
}
_FLOW = "source"
_KEPT = 100


def note_keyless(postgres: Postgres, flow: str, run_id: str) -> None:
    """Make the rows without a key of what the flow reads dead letters, a hundred of each relation.

    Whoever reads these relations leaves such rows out. Those of `analytics_pipeline.dead_letters` that were noted
    before and are not there any more go.
    """
    relations = [relation for relation in FLOWS[flow] if relation in KEYS]
    found: dict[str, list[DeadLetter]] = defaultdict(list)
    with postgres.connect() as connection:
        for relation in relations:
            for reason, payload in connection.execute(_statement(postgres, relation)):
                found[relation].append(DeadLetter("", reason, payload))
    for relation in {*found, *units_with_dead_letters(postgres, _FLOW, relations)}:
        replace_dead_letters(postgres, _FLOW, relation, found[relation], run_id)


def _statement(postgres: Postgres, relation: str) -> sql.Composed:
    absent = [sql.SQL("{} IS NULL").format(sql.Identifier(key)) for key in KEYS[relation]]
    reasons = [
        sql.SQL("WHEN {} THEN {}").format(condition, sql.Literal(f"the row has no {key}"))
        for key, condition in zip(KEYS[relation], absent, strict=True)
    ]
    return sql.SQL("SELECT CASE {} END, row_to_json(one)::text FROM {} AS one WHERE {} LIMIT {}").format(
        sql.SQL(" ").join(reasons), postgres.relation(relation), sql.SQL(" OR ").join(absent), sql.Literal(_KEPT)
    )
