"""The overview leads to Dagster, where each table and each sink is made."""

import re
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from tests.api.world import Tokens, application
from tests.product import Product


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
