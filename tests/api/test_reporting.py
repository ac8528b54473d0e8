"""Reports through HTTP equal the flow's own, with what tells how far they can be trusted."""

from datetime import date

import pytest
from fastapi.testclient import TestClient

from tests.flows.reporting.desk import add_account, add_event, at, build
from tests.product import Product

RANGE = {"since": "2026-01-05T00:00:00Z", "until": "2026-01-16T00:00:00Z"}


@pytest.fixture
def desk(empty_product: Product) -> Product:
    """The contract that rollups and raw events both satisfy: two agents, three days of events."""
    add_account(empty_product, 1, "Etc/UTC")
    for day, agent, values in (
        ("2026-01-06", 1, (20, 10, 100)),
        ("2026-01-14", 1, (40, 30, 200)),
        ("2026-01-15", 2, (60, 50, 300)),
    ):
        for name, value in zip(("first_response", "reply_time", "conversation_resolved"), values, strict=True):
            columns = {"value": value, "value_in_business_hours": value / 2, "user_id": agent, "inbox_id": agent}
            add_event(empty_product, name, at(f"{day}T10:00:00"), **columns, conversation_id=agent)
    build(empty_product, date(2026, 1, 5), date(2026, 1, 16))
    return empty_product


def test_report__of_an_account__is_the_flows_figure(desk: Product, client: TestClient) -> None:
    query = {"since": "2026-01-14T00:00:00Z", "until": "2026-01-16T00:00:00Z"}
    found = client.get("/v1/accounts/1/reports/avg_first_response_time", params=query).json()

    assert found["data"] == {"metric": "avg_first_response_time", "value": 50.0}
    assert (found["coverage"], found["missing"], found["source"]) == ("complete", [], "raw")


def test_time_series__by_the_week__has_every_week_page_by_page(desk: Product, client: TestClient) -> None:
    query: dict[str, str | int] = {**RANGE, "group_by": "week", "dimension": "agent", "id": 1, "limit": 1}
    first = client.get("/v1/accounts/1/reports/resolutions_count/timeseries", params=query)
    second = client.get(first.links["next"]["url"])

    assert [row for page in (first, second) for row in page.json()["data"]] == [
        {"period": "2026-01-04T00:00:00Z", "value": 1, "count": None},
        {"period": "2026-01-11T00:00:00Z", "value": 1, "count": None},
    ]
    assert second.json()["next_cursor"] is None


def test_overview__of_a_range__is_beside_the_same_time_before(desk: Product, client: TestClient) -> None:
    query = {"since": "2026-01-15T00:00:00Z", "until": "2026-01-16T00:00:00Z"}
    found = client.get("/v1/accounts/1/overview", params=query).json()["data"]

    assert found == [
        {"metric": "avg_first_response_time", "current": 60.0, "previous": 40.0},
        {"metric": "avg_resolution_time", "current": 300.0, "previous": 200.0},
        {"metric": "conversations_count", "current": 0, "previous": 0},
        {"metric": "reply_time", "current": 50.0, "previous": 30.0},
        {"metric": "resolutions_count", "current": 1, "previous": 1},
    ]
