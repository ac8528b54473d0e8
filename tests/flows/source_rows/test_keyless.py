"""Rows that lack a key or a day are left out and told, and the others are worked on."""

from typing import Any

import pytest

from analytics_pipeline.flows.reporting.accounts import accounts
from analytics_pipeline.flows.segments.source import live_segments
from analytics_pipeline.flows.source_rows.keyless import note_keyless
from analytics_pipeline.flows.tenants import all_projects
from tests.product import KEY, Product

NULLABLE = (("projects", "organisation_id"), ("environments", "api_key"), ("segments", "id"), ("accounts", "id"))


def _letters(product: Product) -> list[tuple[Any, ...]]:
    return product.execute("SELECT flow, unit, record_key, reason FROM analytics_pipeline.dead_letters ORDER BY unit")


def test_keyless__rows_of_a_view__are_left_out_and_become_dead_letters(product: Product) -> None:
    for relation, column in NULLABLE:
        drops = f"DROP CONSTRAINT {relation}_pkey CASCADE, " if column == "id" else ""
        product.execute(f"ALTER TABLE {relation} {drops}ALTER {column} DROP NOT NULL")
    product.execute("INSERT INTO projects VALUES (11, NULL, 'nobody''s')")
    product.execute("INSERT INTO environments VALUES (101, 10, NULL, 'without a key')")
    product.execute("INSERT INTO segments (id, project_id, name, rules) VALUES (NULL, 10, 'x', '[]')")
    product.execute("INSERT INTO accounts (id, name) VALUES (NULL, 'x')")

    for flow in ("segments", "reporting", "segments"):
        note_keyless(product.postgres, flow, "run")

    assert _letters(product) == [
        ("source", "accounts", "", "the row has no id"),
        ("source", "environments", "", "the row has no api_key"),
        ("source", "projects", "", "the row has no organisation_id"),
        ("source", "segments", "", "the row has no id"),
    ]
    (project,) = all_projects(product.postgres)
    assert (project.id, [one.key for one in project.environments]) == (10, [KEY])
    assert [segment.id for segment in live_segments(product.postgres, 10)] == [1]
    assert accounts(product.postgres).unzoned == ()

    for relation, column in NULLABLE:
        product.execute(f"DELETE FROM {relation} WHERE {column} IS NULL")
    for flow in ("segments", "reporting"):
        note_keyless(product.postgres, flow, "run")
    assert _letters(product) == []


@pytest.mark.parametrize(
    ("flow", "relation", "moment", "others"),
    [
        ("reporting", "reporting_events", "created_at", {"name": "reply_time", "account_id": 1}),
        ("ai_usage", "ai_duo_chat_events", "timestamp", {"user_id": 1, "event": 1}),
        ("ai_usage", "ai_code_suggestion_events", "timestamp", {"user_id": 1, "event": 1}),
    ],
)
def test_keyless__rows_of_no_day__become_dead_letters_until_they_have_one(
    product: Product, flow: str, relation: str, moment: str, others: dict[str, Any]
) -> None:
    product.execute(f"ALTER TABLE {relation} ALTER {moment} DROP NOT NULL")
    names, places = ", ".join(others), ", ".join(["%s"] * len(others))
    product.execute(
        f"INSERT INTO {relation} (id, {moment}, {names}) SELECT id, moment::timestamptz, {places}"
        " FROM (VALUES (7, NULL), (8, 'now'), (9, 'infinity')) AS row (id, moment)",
        *others.values(),
    )

    for _ in range(2):
        note_keyless(product.postgres, flow, "run")

    assert sorted(_letters(product)) == [
        ("source", relation, "7", f"the row has no {moment}, so it is of no day"),
        ("source", relation, "9", f"the {moment} of the row is infinite, so it is of no day"),
    ]

    product.execute(f"UPDATE {relation} SET {moment} = now() WHERE id <> 8")
    note_keyless(product.postgres, flow, "run")
    assert _letters(product) == []
