"""Reports through HTTP equal the flow's own, with what tells how far they can be trusted."""

from datetime import date, datetime, timezone

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from tests.api.world import Tokens, application
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


def test_figures__none_of_whose_days_was_brought_in__are_unknown_and_not_0(
    empty_product: Product, client: TestClient
) -> None:
    add_account(empty_product, 1, "Etc/UTC")
    add_event(empty_product, "first_response", at("2026-01-06T10:00:00"), value=20)
    query = {"since": "2026-01-06T00:00:00Z", "until": "2026-01-08T00:00:00Z"}

    def answers() -> tuple[object, ...]:
        report = client.get("/v1/accounts/1/reports/resolutions_count", params=query).json()
        series = client.get("/v1/accounts/1/reports/resolutions_count/timeseries", params=query).json()
        overview = client.get("/v1/accounts/1/overview", params=query).json()
        return (
            (report["data"]["value"], report["coverage"], report["reason"]),
            ([row["value"] for row in series["data"]], series["coverage"]),
            {row["metric"]: (row["current"], row["previous"]) for row in overview["data"]},
        )

    unknown = answers()
    build(empty_product, date(2026, 1, 6), date(2026, 1, 7))

    # Of the time before the account's first event everything is known.
    nothing = {"avg_resolution_time": (None, None), "reply_time": (None, None), "conversations_count": (0, 0)}
    assert unknown == (
        (None, "unknown", "none of its days was brought in"),
        ([None, None], "partial"),
        nothing | {"avg_first_response_time": (None, None), "resolutions_count": (None, 0)},
    )
    assert answers() == (
        (0, "complete", None),
        ([0, 0], "complete"),
        nothing | {"avg_first_response_time": (20.0, None), "resolutions_count": (0, 0)},
    )


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


def test_summary__by_agent__is_beside_the_same_time_before(desk: Product, client: TestClient) -> None:
    query = {"since": "2026-01-15T00:00:00Z", "until": "2026-01-16T00:00:00Z", "dimension": "agent"}
    found = client.get("/v1/accounts/1/summary", params=query).json()["data"]

    figures = ("resolved_conversations_count", "avg_resolution_time", "avg_first_response_time", "avg_reply_time")
    assert [[row["id"], *(row[name] for name in figures)] for row in found] == [
        [1, 0, None, None, None],
        [2, 1, 300.0, 60.0, 50.0],
    ]
    assert [[row[f"previous_{name}"] for name in figures] for row in found] == [
        [1, 200.0, 40.0, 30.0],
        [0, None, None, None],
    ]


def test_events_behind__every_point_of_a_series__are_as_many(desk: Product, client: TestClient) -> None:
    series = client.get("/v1/accounts/1/reports/resolutions_count/timeseries", params=RANGE).json()["data"]
    for point, following in zip(series, [*series[1:], {"period": RANGE["until"]}], strict=True):
        cell = {"since": point["period"], "until": following["period"]}
        rows = client.get("/v1/accounts/1/reports/resolutions_count/events", params=cell).json()["data"]
        assert len(rows) == point["value"]
        assert {row["name"] for row in rows} <= {"conversation_resolved"}


def test_events_behind__handoffs_of_a_conversation__are_its_newest_once(desk: Product, client: TestClient) -> None:
    for hour, conversation in ((9, 7), (11, 7), (10, 8), (12, None)):
        moment = at(f"2026-01-07T{hour:02}:00:00")
        add_event(desk, "conversation_bot_handoff", moment, conversation_id=conversation, user_id=1)
    build(desk, date(2026, 1, 5), date(2026, 1, 16))
    path = "/v1/accounts/1/reports/bot_handoffs_count"
    rows = client.get(f"{path}/events", params=RANGE).json()["data"]

    assert client.get(path, params=RANGE).json()["data"]["value"] == 2
    assert [(row["conversation_id"], row["created_at"][11:13]) for row in rows] == [(7, "11"), (8, "10")]


@pytest.mark.parametrize(
    ("target", "business", "within"), [(0, False, 0), (39.9, False, 1), (40, False, 2), (60, False, 3), (10, True, 1)]
)
def test_share__within_a_target__counts_events_up_to_it(
    desk: Product, client: TestClient, target: float, business: bool, within: int
) -> None:
    query: dict[str, str | float] = {**RANGE, "target_seconds": target, "business_hours": business}
    found = client.get("/v1/accounts/1/reports/avg_first_response_time/share", params=query).json()["data"]

    assert (found["within"], found["total"], found["without_value"]) == (within, 3, 0)
    assert found["share"] == within / 3


def test_share__of_a_count__is_refused_with_the_reason(desk: Product, client: TestClient) -> None:
    query: dict[str, str | float] = {**RANGE, "target_seconds": 1}
    found = client.get("/v1/accounts/1/reports/resolutions_count/share", params=query)

    assert (found.status_code, found.json()["detail"]) == (
        400,
        "resolutions_count is no duration, so nothing of it is within a target",
    )


def test_etag__of_closed_days__changes_when_a_day_is_brought_in_anew(desk: Product, client: TestClient) -> None:
    path = "/v1/accounts/1/reports/resolutions_count"
    first = client.get(path, params=RANGE)
    known = {"If-None-Match": first.headers["etag"]}
    assert client.get(path, params=RANGE, headers=known).status_code == 304

    add_event(desk, "conversation_resolved", at("2026-01-08T10:00:00"), value=1, user_id=1, conversation_id=9)
    build(desk, date(2026, 1, 8), date(2026, 1, 8))
    again = client.get(path, params=RANGE, headers=known)

    assert (again.status_code, again.json()["data"]["value"]) == (200, first.json()["data"]["value"] + 1)
    assert again.headers["etag"] != first.headers["etag"]


def test_etag__of_closed_days__is_told_while_clickhouse_is_gone(desk: Product, client: TestClient) -> None:
    path = "/v1/accounts/1/reports/resolutions_count"
    known = {"If-None-Match": client.get(path, params=RANGE).headers["etag"]}
    gone = {"clickhouse_url": SecretStr("http://user:secret@127.0.0.1:1/analytics")}
    lonely = Product(desk.settings.model_copy(update=gone), desk.clickhouse, desk.table)

    with application(lonely, Tokens()) as asked:
        assert asked.get(path, params=RANGE, headers=known).status_code == 304
        assert asked.get(path, params=RANGE).status_code == 503


def test_etag__of_open_days_and_of_conversations__is_of_what_they_hold(desk: Product, client: TestClient) -> None:
    now = datetime.now(timezone.utc)
    open_ = {"since": RANGE["since"], "until": now.isoformat()}
    for path, query in (("reports/resolutions_count", open_), ("reports/conversations_count", RANGE)):
        assert client.get(f"/v1/accounts/1/{path}", params=query).headers["etag"].startswith("W/")
    assert not client.get("/v1/accounts/1/reports/resolutions_count", params=RANGE).headers["etag"].startswith("W/")
