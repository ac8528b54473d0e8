"""Rows of the source that lack a key or a day: nothing can be counted for them, and nobody is stopped."""

from collections.abc import Iterator, Mapping

from psycopg import sql

from analytics_pipeline.flows.contract import FLOWS
from analytics_pipeline.flows.dead_letters import DeadLetter, replace_dead_letters, units_with_dead_letters
from analytics_pipeline.resources.postgres import Postgres

# A table has none without them; a view with an outer join may.
_KEYS: Mapping[str, tuple[str, ...]] = {
    "projects": ("id", "organisation_id"),
    "environments": ("id", "project_id", "api_key"),
    "segments": ("id", "project_id"),
    "accounts": ("id",),
}
# Copied relations refuse rows without a key day by day. Rows that belong to no day would be in none of their copies.
_MOMENTS: Mapping[str, str] = {
    "reporting_events": "created_at",
    "ai_duo_chat_events": "timestamp",
    "ai_code_suggestion_events": "timestamp",
}
_FLOW = "source"
_KEPT = 100


def note_keyless(postgres: Postgres, flow: str, run_id: str) -> None:
    """Make the rows without a key, or without a day, of what the flow reads dead letters, a hundred of each relation.

    Whoever reads these relations leaves such rows out. Those of `analytics_pipeline.dead_letters` that were noted
    before and are not there any more go.
    """
    relations = [relation for relation in FLOWS[flow] if relation in {*_KEYS, *_MOMENTS}]
    with postgres.connect() as connection:
        found = {
            relation: [DeadLetter(*row) for row in connection.execute(_statement(postgres, relation))]
            for relation in relations
        }
    noted = units_with_dead_letters(postgres, _FLOW, relations)
    for relation, letters in found.items():
        if letters or relation in noted:
            replace_dead_letters(postgres, _FLOW, relation, letters, run_id)


def _statement(postgres: Postgres, relation: str) -> sql.Composed:
    reasons = [*_reasons(relation)]
    cases = [sql.SQL("WHEN {} THEN {}").format(condition, sql.Literal(reason)) for condition, reason in reasons]
    key = sql.SQL("coalesce(id::text, '')" if relation in _MOMENTS else "''")
    return sql.SQL("SELECT {}, CASE {} END, row_to_json(one)::text FROM {} AS one WHERE {} LIMIT {}").format(
        key,
        sql.SQL(" ").join(cases),
        postgres.relation(relation),
        sql.SQL(" OR ").join(condition for condition, _ in reasons),
        sql.Literal(_KEPT),
    )


def _reasons(relation: str) -> Iterator[tuple[sql.Composed, str]]:
    """Conditions of a row that nothing can be counted for, and what they mean."""
    for key in _KEYS.get(relation, ()):
        yield sql.SQL("{} IS NULL").format(sql.Identifier(key)), f"the row has no {key}"
    if relation in _MOMENTS:
        moment, reason = sql.Identifier(_MOMENTS[relation]), f"the row has no {_MOMENTS[relation]}, so it is of no day"
        yield sql.SQL("{} IS NULL").format(moment), reason
        # As one condition an index answers it.
        endless = sql.SQL("{} IN ('infinity', '-infinity')").format(moment)
        yield endless, f"the {_MOMENTS[relation]} of the row is infinite, so it is of no day"
