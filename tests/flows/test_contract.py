"""The source contract: what a database lacks of it, and which flows that turns off."""

from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit

import pytest

from analytics_pipeline.config import Settings
from analytics_pipeline.flows import contract
from analytics_pipeline.flows.contract import Gap, Mistyped, WrongTypes, gaps, notes, require
from analytics_pipeline.flows.source_types import Kind
from analytics_pipeline.resources.postgres import postgres
from tests.product import Product


def test_contract__relations__are_those_that_settings_can_rename() -> None:
    assert set(contract.COLUMNS) == set(dict(Settings.load().sources))
    assert {relation for relations in contract.FLOWS.values() for relation in relations} == set(contract.COLUMNS)


def test_gaps__source_fits__there_are_none(empty_product: Product) -> None:
    assert gaps(empty_product.postgres) == []


def test_gaps__relations_and_columns_are_missing__each_is_named(empty_product: Product) -> None:
    empty_product.execute("DROP TABLE segments")
    empty_product.execute("ALTER TABLE environments DROP COLUMN api_key, DROP COLUMN name")
    empty_product.execute('ALTER TABLE feature_flags RENAME COLUMN enabled TO "Enabled"')

    assert gaps(empty_product.postgres) == [
        Gap("environments", "environments", ("api_key", "name"), is_absent=False),
        Gap("segments", "segments", tuple(contract.COLUMNS["segments"]), is_absent=True),
        Gap("feature_flags", "feature_flags", ("enabled",), is_absent=False),
    ]


@pytest.mark.parametrize(
    ("relation", "flows"),
    [
        ("organisations", ["identities", "segments"]),
        ("feature_flags", ["identities", "segments", "reporting", "ai_usage"]),
        ("reporting_events", ["reporting"]),
    ],
)
def test_gap__of_a_relation__turns_off_the_flows_that_read_it(relation: str, flows: list[str]) -> None:
    assert Gap(relation, relation, (), is_absent=True).flows == flows


def test_gaps__user_may_not_read__names_the_columns(empty_product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rights on a schema, on a relation and on columns."""
    name = f"reader_{empty_product.table}"
    empty_product.execute("CREATE SCHEMA closed")
    empty_product.execute("ALTER TABLE projects SET SCHEMA closed")
    empty_product.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'x'")
    try:
        empty_product.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public, closed TO {name}")
        empty_product.execute(f"REVOKE SELECT ON segments, feature_flags FROM {name}")
        empty_product.execute(f"GRANT SELECT (id, project_id, name, rules, updated_at) ON segments TO {name}")
        monkeypatch.setenv("SOURCE_PROJECTS", "closed.projects")
        store = postgres(Settings.load())
        parts = urlsplit(store.url)
        url = urlunsplit(parts._replace(netloc=f"{name}:x@{parts.hostname}:{parts.port}"))

        found = gaps(replace(store, url=url))
    finally:
        empty_product.execute(f"DROP OWNED BY {name}")
        empty_product.execute(f"DROP ROLE {name}")

    assert found == [
        Gap("projects", "closed.projects", (), is_absent=False, unreadable=tuple(contract.COLUMNS["projects"])),
        Gap("segments", "segments", (), is_absent=False, unreadable=("deleted_at",)),
        Gap("feature_flags", "feature_flags", (), is_absent=False, unreadable=tuple(contract.COLUMNS["feature_flags"])),
    ]


@pytest.mark.parametrize(
    ("kind", "name"), [("VIEW", "elsewhere.projects_v"), ("MATERIALIZED VIEW", "Mixed"), ("TABLE", "other_projects")]
)
def test_gaps__renamed_relation_of_any_kind__fits(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch, kind: str, name: str
) -> None:
    quoted = ".".join(f'"{part}"' for part in name.split("."))
    empty_product.execute("CREATE SCHEMA elsewhere")
    empty_product.execute("ALTER TABLE projects RENAME TO the_table")
    empty_product.execute(f"CREATE {kind} {quoted} AS SELECT id, organisation_id, name, 1 AS more FROM the_table")
    monkeypatch.setenv("SOURCE_PROJECTS", name)

    assert gaps(postgres(Settings.load())) == []


def test_gaps__renamed_relation_is_absent__is_shown_under_its_configured_name(
    empty_product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_PROJECTS", "elsewhere.projects_v")

    assert gaps(postgres(Settings.load())) == [
        Gap("projects", "elsewhere.projects_v", tuple(contract.COLUMNS["projects"]), is_absent=True)
    ]


def test_gaps__database_is_empty__lists_the_whole_contract(empty_product: Product) -> None:
    empty_product.execute("DROP SCHEMA public CASCADE")

    assert gaps(empty_product.postgres) == [
        Gap(relation, relation, tuple(columns), is_absent=True) for relation, columns in contract.COLUMNS.items()
    ]


def _retyped(product: Product) -> None:
    product.execute("ALTER TABLE projects DROP CONSTRAINT projects_organisation_id_fkey")
    product.execute("ALTER TABLE projects ALTER COLUMN organisation_id TYPE uuid USING NULL::uuid")
    product.execute("ALTER TABLE environments ALTER COLUMN api_key TYPE char(40)")
    product.execute("ALTER TABLE accounts ALTER COLUMN settings DROP DEFAULT, ALTER COLUMN settings TYPE text")
    product.execute("ALTER TABLE feature_flags ALTER COLUMN enabled DROP DEFAULT, ALTER COLUMN enabled TYPE text")
    product.execute("ALTER TABLE conversations ALTER COLUMN team_id TYPE numeric, ALTER COLUMN created_at TYPE date")
    product.execute(
        "ALTER TABLE reporting_events ALTER COLUMN value TYPE numeric, ALTER COLUMN created_at TYPE timestamp"
    )


MISTYPED = {
    "projects": (Mistyped("organisation_id", "uuid", Kind.KEY),),
    "environments": (Mistyped("api_key", "character", Kind.TEXT),),
    "accounts": (Mistyped("settings", "text", Kind.JSON),),
    "conversations": (Mistyped("team_id", "numeric", Kind.KEY), Mistyped("created_at", "date", Kind.MOMENT)),
}


def test_gaps__columns_of_other_types__are_named_unless_they_can_be_read(empty_product: Product) -> None:
    _retyped(empty_product)

    assert gaps(empty_product.postgres) == [
        Gap(relation, relation, (), is_absent=False, mistyped=columns) for relation, columns in MISTYPED.items()
    ]


def test_notes__columns_that_are_read_otherwise__say_how(empty_product: Product) -> None:
    assert notes(empty_product.postgres) == {}
    _retyped(empty_product)

    found = notes(empty_product.postgres)

    assert found["reporting_events"] == [
        "value is numeric: the nearest number of double precision; a row whose value is beyond what double precision"
        " holds becomes a dead letter",
        "created_at is timestamp without time zone: read as UTC",
    ]
    assert [text.partition(":")[0] for text in found["feature_flags"]] == ["enabled is text"]
    assert set(found) == {"reporting_events", "feature_flags"}


def test_require__of_a_flow__refuses_its_own_relations_alone(empty_product: Product) -> None:
    _retyped(empty_product)
    require(empty_product.postgres, "ai_usage")

    with pytest.raises(WrongTypes) as refusal:
        require(empty_product.postgres, "segments")

    assert str(refusal.value) == (
        "The source cannot be read right: projects.organisation_id is uuid, an integer is needed;"
        " environments.api_key is character, text is needed. Nothing was read or changed."
        " For views to point at instead, run: analytics-pipeline doctor --views"
    )
