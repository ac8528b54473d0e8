"""The overview leads to Dagster, where each table and each sink is made."""

import re
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from tests.api.world import Tokens, application
from tests.product import Product

DAGSTER = "http://127.0.0.1:3000/assets"
FAILS = ("rollups_equal_events", "bad", "fails")
WARNS = ("changes_are_followed", "warn", "warns")
UNKNOWN = ("no_impossible_rollups", "warn", "unknown")


@pytest.fixture
def visitor(shared_world: Product) -> Iterator[TestClient]:
    """Somebody whose service knows where Dagster is."""
    settings = shared_world.settings.model_copy(update={"dagster_ui_url": "http://127.0.0.1:3000/"})
    with application(Product(settings, shared_world.clickhouse, shared_world.table), Tokens()) as found:
        yield found


def test_flows__address_of_dagster_is_set__link_to_the_asset_that_fills_them(visitor: TestClient) -> None:
    page = visitor.get("/", params={"panel": "flows"}, headers={"Accept": "text/html"}).text

    found = re.findall(r'<td><a href="http://127\.0\.0\.1:3000/assets/(\w+)">(\w+)</a>', page)
    assert [pair for pair in found if pair[0] != pair[1]] == [
        ("identity_snapshots", "identities"),
        ("usage_export", "warehouse"),
    ]
    assert {"reporting_rollups", "ai_usage_daily", "segment_counts"} < {asset for asset, _ in found}
    assert len(found) == page.count("<tr>") - 1


def test_checks__those_that_fail__come_first_and_lead_to_what_they_found(visitor: TestClient) -> None:
    page = visitor.get("/", params={"panel": "checks"}, headers={"Accept": "text/html"}).text

    rows = re.findall(r'<td><a href="([^"]+)">(\w+)</a></td>.*?<span class="word (\w+)">([^<]+)</span>', page, re.S)
    assert rows[:3] == [
        (f"{DAGSTER}/reporting_rollups?view=checks&amp;checkDetail=rollups_equal_events", *FAILS),
        (f"{DAGSTER}/reporting_rollups?view=checks&amp;checkDetail=changes_are_followed", *WARNS),
        (f"{DAGSTER}/reporting_rollups?view=checks&amp;checkDetail=no_impossible_rollups", *UNKNOWN),
    ]
    assert {(tone, word) for _, _, tone, word in rows[3:]} == {("good", "passes")}


def test_checks__of_a_tenant__are_not_shown(visitor: TestClient) -> None:
    for token in ("organisation-1", "account-71"):
        page = visitor.get("/", headers={"Accept": "text/html", "Authorization": f"Bearer {token}"}).text
        assert "rollups_equal_events" not in page
