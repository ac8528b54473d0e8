"""Which projects and environments are worked on, which are left out and why."""

from typing import Any

import pytest

from analytics_pipeline.flows.tenants import (
    SEGMENT_MEMBERSHIP_FLAG,
    Environment,
    Project,
    Skipped,
    Tenants,
    UnknownProjects,
    enabled_tenants,
)
from analytics_pipeline.resources.feature_flags import feature_flags
from tests.product import Product


def _tenants(product: Product, **only: Any) -> Tenants:
    return enabled_tenants(product.postgres, feature_flags(product.settings, product.postgres), **only)


def _fill(product: Product) -> None:
    """Organisation 1 is on: project 10 has two environments, 11 no live segment, 12 no environment. 2 is off."""
    for organisation, enabled in ((2, False), (1, True)):
        product.add_organisation(organisation, enabled=enabled)
    for project, organisation in ((20, 2), (12, 1), (11, 1), (10, 1)):
        product.add_project(project, organisation)
    for environment, project in ((200, 20), (111, 11), (102, 10), (0, 10)):
        product.add_environment(environment, project, f"key-{environment}", f"Environment {environment}")
    for segment, project in ((1, 10), (2, 10), (3, 11), (4, 12), (5, 20)):
        product.add_segment(segment, [], project)
    product.execute("UPDATE segments SET deleted_at = now() WHERE id = 3")


TEN = Project(
    10,
    1,
    "Project 10",
    (
        Environment(0, "key-0", "Environment 0", 10, 1),
        Environment(102, "key-102", "Environment 102", 10, 1),
    ),
)
TWELVE = Project(12, 1, "Project 12", ())
ALL_KEYS = frozenset({"key-0", "key-102", "key-111", "key-200"})


def test_enabled_tenants__many_projects__those_of_enabled_organisations_with_live_segments(
    empty_product: Product,
) -> None:
    _fill(empty_product)

    tenants = _tenants(empty_product)

    assert tenants == Tenants(
        (TEN, TWELVE), (Skipped(11, 1, "no_live_segments"), Skipped(20, 2, "ff_disabled")), ALL_KEYS
    )
    assert tenants.environments == list(TEN.environments)


def test_enabled_tenants__narrowed__knows_all_environments_but_works_on_those(empty_product: Product) -> None:
    _fill(empty_product)

    assert _tenants(empty_product, only=[20, 10]) == Tenants((TEN,), (Skipped(20, 2, "ff_disabled"),), ALL_KEYS)
    assert _tenants(empty_product, only=[11]) == Tenants((), (Skipped(11, 1, "no_live_segments"),), ALL_KEYS)
    assert _tenants(empty_product, only=[]) == Tenants((), (), ALL_KEYS)


def test_enabled_tenants__narrowed_to_unknown_projects__names_them(empty_product: Product) -> None:
    _fill(empty_product)

    with pytest.raises(UnknownProjects) as refusal:
        _tenants(empty_product, only=[99, 10, 7])
    assert str(refusal.value) == "the source has no project 7, 99; check the run's `projects`"


def test_enabled_tenants__global_flag__an_organisations_own_wins(empty_product: Product) -> None:
    _fill(empty_product)
    empty_product.execute("INSERT INTO feature_flags VALUES (%s, 'global', true)", SEGMENT_MEMBERSHIP_FLAG)
    empty_product.add_project(30, _organisation_without_flag(empty_product))
    empty_product.add_segment(6, [], 30)

    tenants = _tenants(empty_product)

    assert [project.id for project in tenants.projects] == [10, 12, 30]
    assert tenants.skipped == (Skipped(11, 1, "no_live_segments"), Skipped(20, 2, "ff_disabled"))


def _organisation_without_flag(product: Product) -> int:
    product.execute("INSERT INTO organisations VALUES (3, 'Organisation 3')")
    return 3


def test_enabled_tenants__renamed_relations__are_read(empty_product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    _fill(empty_product)
    for name in ("projects", "environments", "segments", "feature_flags"):
        empty_product.execute(f"ALTER TABLE {name} RENAME TO other_{name}")
        monkeypatch.setenv(f"SOURCE_{name.upper()}", f"public.other_{name}")
    renamed = Product(type(empty_product.settings).load(), empty_product.clickhouse, empty_product.table)

    assert _tenants(renamed).projects == (TEN, TWELVE)


def test_enabled_tenants__empty_source__is_nothing(empty_product: Product) -> None:
    assert _tenants(empty_product) == Tenants((), (), frozenset())
