"""Product events through HTTP: figures of one's own organisation, and the names that they were served under."""

from datetime import timedelta

import pytest
from fastapi.testclient import TestClient

from analytics_pipeline.api.stores import Scope
from tests.api.world import Tokens, application
from tests.flows.product_events.events import ORGANISATION, OTHER, an_id, at, event, store
from tests.product import Product, today

EVENTS = f"/v1/organisations/{ORGANISATION}/events"
RANGE = {"from": str(today() - timedelta(days=2)), "to": str(today() - timedelta(days=1))}


@pytest.fixture
def stored(empty_product: Product) -> Product:
    """Yesterday three users created a task each, of which two were completed; another organisation did more."""
    tasks = [
        *(event(number, at(1), event_type="task_created", user_id=an_id(number)) for number in (1, 2, 3)),
        *(
            event(number + 10, at(1, 13), event_type="task_completed", user_id=an_id(number), duration_ms=number * 100)
            for number in (1, 2)
        ),
    ]
    others = [{**one, "event_id": an_id(number + 90), "organisation_id": OTHER} for number, one in enumerate(tasks)]
    requests = [
        event(
            number, at(1, 9), event_type="api_request", service="web", endpoint="/x", method="GET", duration_ms=number
        )
        for number in (20, 30)
    ]
    store(empty_product.clickhouse, [*tasks, *others, *requests])
    return empty_product


def test_users__of_each_day__are_the_organisations_own(stored: Product, client: TestClient) -> None:
    found = client.get(f"{EVENTS}/users/daily", params=RANGE).json()

    assert found["data"] == [
        {"day": RANGE["to"], "active_users": 3, "total_events": 5},
        {"day": RANGE["from"], "active_users": 0, "total_events": 0},
    ]
    assert (found["source"], found["coverage"]) == ("events", "complete")


def test_tasks__of_a_range__are_weighted(stored: Product, client: TestClient) -> None:
    daily = client.get(f"{EVENTS}/tasks/daily", params=RANGE).json()["data"]
    whole = client.get(f"{EVENTS}/tasks/overview", params=RANGE).json()["data"]

    assert daily[0] == {"day": RANGE["to"], **whole}
    assert (whole["created"], whole["completed"], whole["success_rate"]) == (3, 2, 1.0)
    assert whole["avg_duration_ms"] == 150.0
    assert (daily[1]["created"], daily[1]["success_rate"], daily[1]["avg_duration_ms"]) == (0, None, None)


def test_events__page_by_page_and_filtered__are_the_organisations_own(stored: Product, client: TestClient) -> None:
    query: dict[str, str | int] = {**RANGE, "event_type": "task_created", "limit": 2}
    first = client.get(EVENTS, params=query)
    second = client.get(first.links["next"]["url"])

    assert [row["event_id"] for page in (first, second) for row in page.json()["data"]] == [
        str(an_id(number)) for number in (3, 2, 1)
    ]


def test_figures__of_days_past_their_events__are_told_by_the_ledger_alone(stored: Product, tokens: Tokens) -> None:
    past = {"from": str(today() - timedelta(days=1)), "to": str(today() - timedelta(days=1))}
    kept = stored.settings.model_copy(update={"event_retention_days": 0})
    table, day = "analytics_task_stats_daily", today() - timedelta(days=1)
    late = Product(kept, stored.clickhouse, stored.table)

    def asked(client: TestClient, tag: str = "") -> tuple[int, str, bool]:
        found = client.get(f"{EVENTS}/tasks/overview", params=past, headers={"If-None-Match": tag})
        return found.status_code, found.headers["etag"], '"0 queries' in found.headers["server-timing"]

    with application(late, tokens) as client:
        unknown = asked(client)
        assert stored.materialise(table, day=day).success
        status, tag, _ = asked(client)
        again = asked(client, tag)
        assert stored.materialise(table, day=day).success
        anew = asked(client, tag)
        stored.execute("UPDATE analytics_pipeline.held_days SET state = 'lost' WHERE relation = %s", table)
        lost = asked(client, anew[1])

    assert unknown[1].startswith("W/")
    assert (status, again) == (200, (304, tag, True))
    assert (anew[0], anew[1] != tag) == (200, True)
    # Nobody vouches for them: ClickHouse is asked.
    assert (lost[1].startswith("W/"), lost[2]) == (True, False)


def test_served_names__of_a_token__are_its_organisations(stored: Product, client: TestClient, tokens: Tokens) -> None:
    tokens.scopes["own"] = Scope(organisation_id=ORGANISATION)
    tokens.scopes["desk"] = Scope(account_id=ORGANISATION)
    own = {"Authorization": "Bearer own"}
    days = {"start_date": f"{RANGE['from']}T00:00:00Z", "end_date": f"{RANGE['to']}T12:00:00Z"}
    camel = {"startDate": days["start_date"], "endDate": days["end_date"]}

    served = client.get("/api/analytics/users/daily", params=days, headers=own).json()
    assert served == client.get("/api/analytics/users/daily", params=camel, headers=own).json()
    assert served == client.get(f"{EVENTS}/users/daily", params=RANGE).json()["data"]
    assert client.get("/api/analytics/tasks/overview", params=days, headers=own).json()["total_created"] == 3
    assert client.get("/api/analytics/tasks/overview", params=days).json()["total_created"] == 6
    assert [row["request_count"] for row in client.get("/api/analytics/api/latency", params=days).json()] == [2]
    assert client.get("/api/analytics/overview", headers=own).json()["total_tasks"] == 3
    assert client.get("/api/analytics/overview", headers={"Authorization": "Bearer desk"}).status_code == 404
