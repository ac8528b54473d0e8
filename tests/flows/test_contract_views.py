"""Views for a database that names or types things otherwise: what can be run makes the contract fit."""

import pytest

from analytics_pipeline.config import Settings
from analytics_pipeline.flows.contract import COLUMNS, gaps
from analytics_pipeline.flows.contract_views import view_statements
from analytics_pipeline.resources.postgres import postgres
from tests.product import Product


def test_views__source_fits__are_none(empty_product: Product) -> None:
    assert view_statements(empty_product.postgres) == []


def test_views__other_types_and_spellings__run_and_fit(empty_product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    empty_product.execute('ALTER TABLE projects RENAME COLUMN organisation_id TO "organisationId"')
    empty_product.execute("ALTER TABLE conversations ALTER COLUMN team_id TYPE text, ALTER COLUMN created_at TYPE date")
    empty_product.execute("ALTER TABLE accounts ALTER COLUMN settings DROP DEFAULT, ALTER COLUMN settings TYPE text")
    empty_product.execute("INSERT INTO accounts VALUES (1, 'One', '{\"reporting_timezone\": \"Europe/Kyiv\"}')")
    empty_product.execute("ALTER TABLE reporting_events ALTER COLUMN name TYPE jsonb USING to_jsonb(name)")
    empty_product.execute("ALTER TABLE reporting_events ALTER COLUMN value TYPE interval USING value * interval '1s'")
    empty_product.execute("INSERT INTO reporting_events (name, value) VALUES ('\"reply_time\"', '1 minute')")

    statements = view_statements(empty_product.postgres)
    for statement in statements:
        empty_product.execute(statement)
    for relation in ("projects", "conversations", "accounts", "reporting_events"):
        monkeypatch.setenv(f"SOURCE_{relation.upper()}", f"analytics_views.{relation}")

    assert statements[1] == (
        'CREATE VIEW "analytics_views"."projects" AS SELECT\n    "id" AS "id",\n'
        '    "organisationId" AS "organisation_id",\n    "name" AS "name"\nFROM "projects"\n'
        "; -- and set SOURCE_PROJECTS=analytics_views.projects"
    )
    assert gaps(postgres(Settings.load())) == []
    assert empty_product.execute("SELECT name, value FROM analytics_views.reporting_events") == [("reply_time", 60.0)]
    assert empty_product.execute("SELECT settings ->> 'reporting_timezone' FROM analytics_views.accounts") == [
        ("Europe/Kyiv",)
    ]


def test_views__nothing_stands_for_a_column__say_so_and_do_not_run(empty_product: Product) -> None:
    empty_product.execute("ALTER TABLE ai_duo_chat_events DROP COLUMN payload")
    empty_product.execute("ALTER TABLE ai_duo_chat_events ALTER COLUMN user_id TYPE uuid USING NULL")
    empty_product.execute("DROP TABLE segments")

    _, segments, events = view_statements(empty_product.postgres)

    assert '    <an integer> AS "user_id", -- "user_id" is uuid' in events.splitlines()
    assert '    <jsonb> AS "payload", -- is missing' in events.splitlines()
    assert segments.splitlines()[-2] == "FROM <the table that holds them>"
    assert segments.count(" AS ") == len(COLUMNS["segments"]) + 1
