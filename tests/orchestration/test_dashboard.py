"""Links between Dagster's assets and the dashboard lead somewhere, both ways."""

import dagster as dg
import pytest

from analytics_pipeline.api.pages.frame.rendering import PLACES
from analytics_pipeline.config import Settings
from analytics_pipeline.definitions import defs


@pytest.fixture
def specs(monkeypatch: pytest.MonkeyPatch) -> list[dg.AssetSpec]:
    """All assets where the dashboard's address is known."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("DASHBOARD_URL", "https://figures.example.com/")
    with dg.DagsterInstance.ephemeral():
        return list(defs().resolve_all_asset_specs())


def test_assets__address_of_the_dashboard_is_set__all_but_sources_link_to_a_page(specs: list[dg.AssetSpec]) -> None:
    pages = {f"https://figures.example.com{place.path}" for place in PLACES}
    links = {spec.key.to_user_string(): _link(spec) for spec in specs if spec.group_name != "sources"}

    assert {name for name, link in links.items() if link not in pages} == set()
    assert {_link(spec) for spec in specs if spec.group_name == "sources"} == {None}


def _link(spec: dg.AssetSpec) -> str | None:
    found = spec.metadata.get("dashboard")
    return found.url if isinstance(found, dg.UrlMetadataValue) else None


def test_places__with_an_asset__name_one_that_there_is(specs: list[dg.AssetSpec]) -> None:
    assert {place.asset for place in PLACES if place.asset} <= {spec.key.to_user_string() for spec in specs}
