"""Rows of a view that lack a key are left out and told, and the others are worked on."""

from typing import Any

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
