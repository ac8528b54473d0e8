"""The source contract: what a database lacks of it, and which flows that turns off."""

import pytest

from analytics_pipeline.config import Settings
from analytics_pipeline.flows import contract
from analytics_pipeline.flows.contract import Gap, gaps
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
        Gap("segments", "segments", contract.COLUMNS["segments"], is_absent=True),
        Gap("feature_flags", "feature_flags", ("enabled",), is_absent=False),
    ]


@pytest.mark.parametrize("relation", contract.COLUMNS)
def test_gap__of_any_relation__turns_off_the_flows_that_read_it(relation: str) -> None:
    assert Gap(relation, relation, (), is_absent=True).flows == ["identities", "segments"]


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
        Gap("projects", "elsewhere.projects_v", contract.COLUMNS["projects"], is_absent=True)
    ]


def test_gaps__database_is_empty__lists_the_whole_contract(empty_product: Product) -> None:
    empty_product.execute("DROP SCHEMA public CASCADE")

    assert gaps(empty_product.postgres) == [
        Gap(relation, relation, columns, is_absent=True) for relation, columns in contract.COLUMNS.items()
    ]
