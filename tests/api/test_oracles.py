"""Figures through HTTP are those of pandas, plain Python and the flag engine, and during a swap those of one state."""

import random
import threading
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pandas as pd
import pytest
from fastapi.testclient import TestClient
from flag_engine.segments.evaluator import is_context_in_segment

from analytics_pipeline.flows.product_events.aggregates.tables import AGGREGATES
from tests.flows.product_events.events import ORGANISATION, frame, random_events, store
from tests.flows.reporting.desk import add_account, add_event, at, build
from tests.product import ENVIRONMENT, PROJECT, Product, condition, document, today
from tests.thorough import rarely

EVENTS = f"/v1/organisations/{ORGANISATION}/events"
DAYS = [today() - timedelta(days=ago) for ago in (4, 3, 2, 1)]
RANGE = {"from": f"{DAYS[0]}", "to": f"{DAYS[-1]}"}


def pages(client: TestClient, path: str, **query: Any) -> list[dict[str, Any]]:
    """All rows of a list, page by page."""
    return [row for page in _pages(client, path, query) for row in page["data"]]


def _pages(client: TestClient, path: str, query: dict[str, Any]) -> Iterator[dict[str, Any]]:
    cursor: str | None = ""
    while cursor is not None:
        answer = client.get(path, params={**query, **({"cursor": cursor} if cursor else {})})
        assert answer.status_code == 200, answer.text
        yield answer.json()
        cursor = answer.json()["next_cursor"]


@pytest.fixture
def sent(empty_product: Product) -> pd.DataFrame:
    """Random events of four days, of which two are in the figures; those of organisation 1."""
    events = random_events(random.Random(7), 600, DAYS)  # noqa: S311 - no secret
    store(empty_product.clickhouse, events)
    for day in DAYS[:2]:
        assert empty_product.materialise(*(one.name for one in AGGREGATES), day=day).success
    rows = frame(events)
    found: pd.DataFrame = rows[rows.organisation_id == ORGANISATION]
    return found


def test_product_events__through_http__are_those_of_pandas(sent: pd.DataFrame, client: TestClient) -> None:
    def of(kind: str, rows: pd.DataFrame = sent) -> int:
        return int((rows.event_type == kind).sum())

    by_day = {str(day): rows for day, rows in sent.groupby("date")}
    users = {
        row["day"]: (row["active_users"], row["total_events"])
        for row in pages(client, f"{EVENTS}/users/daily", **RANGE)
    }
    tasks = {row["day"]: (row["created"], row["failed"]) for row in pages(client, f"{EVENTS}/tasks/daily", **RANGE)}
    logins = {row["day"]: row["login_attempts"] for row in pages(client, f"{EVENTS}/auth/daily", **RANGE)}
    cocoons = {row["day"]: row["claims"] for row in pages(client, f"{EVENTS}/cocoons/daily", **RANGE)}
    uses = [row["uses"] for row in pages(client, f"{EVENTS}/integrations/daily", **RANGE, limit=3)]

    assert users == {day: (rows.user_id.nunique(), int(rows.user_id.notna().sum())) for day, rows in by_day.items()}
    assert tasks == {day: (of("task_created", rows), of("task_failed", rows)) for day, rows in by_day.items()}
    assert logins == {day: of("auth_login_attempt", rows) for day, rows in by_day.items()}
    assert cocoons == {day: of("cocoon_claimed", rows) for day, rows in by_day.items()}
    assert sum(uses) == of("integration_used")
    assert client.get(f"{EVENTS}/tasks/overview", params=RANGE).json()["data"]["completed"] == of("task_completed")
    assert len(pages(client, EVENTS, **RANGE, limit=90)) == len(sent)


@pytest.mark.parametrize("limit", [7, *rarely(1)])
def test_lists_of_product_events__page_by_page__are_those_of_pandas_in_their_order(
    sent: pd.DataFrame, client: TestClient, limit: int
) -> None:
    counted = sent.groupby(["event_type", "name", "service"]).size()
    calls = sent[sent.event_type == "api_request"].groupby(["hour", "service", "endpoint", "method"]).size()
    broken = sent[sent.event_type == "application_error"].groupby(["hour", "service", "error_type"]).size()

    counts = pages(client, f"{EVENTS}/counts", **RANGE, limit=limit)
    latency = pages(client, f"{EVENTS}/api/latency", **RANGE, limit=limit)
    errors = pages(client, f"{EVENTS}/errors/hourly", **RANGE, limit=limit)

    assert {(row["event_type"], row["name"], row["service"]): row["events"] for row in counts} == counted.to_dict()
    assert len(counts) == len(counted)
    assert [_hour(row, "service", "endpoint", "method") for row in latency] == sorted(
        (_hour(row, "service", "endpoint", "method") for row in latency), key=lambda key: -key[0].timestamp()
    )
    assert {_hour(row, "service", "endpoint", "method"): row["request_count"] for row in latency} == calls.to_dict()
    assert len(latency) == len(calls)
    assert {_hour(row, "service", "error_type"): row["error_count"] for row in errors} == broken.to_dict()
    assert len(errors) == len(broken)
    for rows, figure in ((counts, "events"), (errors, "error_count")):
        places = [(row.get("hour", ""), row[figure]) for row in rows]
        assert places == sorted(places, reverse=True)


def _hour(row: dict[str, Any], *names: str) -> tuple[Any, ...]:
    return (pd.Timestamp(row["hour"]), *(row[name] for name in names))


def test_page_of_product_events__is_cut_by_clickhouse(sent: pd.DataFrame, client: TestClient) -> None:
    """Of a row that comes in before the place of the page, the next page repeats none and hides none."""
    whole = pages(client, f"{EVENTS}/counts", **RANGE)
    first = client.get(f"{EVENTS}/counts", params={**RANGE, "limit": 3})
    gone = whole[2]
    second = client.get(first.links["next"]["url"]).json()["data"]

    assert [*first.json()["data"], *second] == whole[:6]
    assert gone not in second


METRICS = {
    "resolutions_count": "conversation_resolved",
    "avg_resolution_time": "conversation_resolved",
    "avg_first_response_time": "first_response",
    "reply_time": "reply_time",
    "bot_resolutions_count": "conversation_bot_resolved",
}


@pytest.mark.parametrize("is_rollup", [True, *rarely((False,))], ids=["rollups", "raw"])
def test_reports__through_http__are_those_of_plain_python(
    empty_product: Product, client: TestClient, is_rollup: bool
) -> None:
    dice = random.Random(3)  # noqa: S311 - no secret
    add_account(empty_product, 1, "Etc/UTC")
    events = [
        (
            dice.choice([*METRICS.values()]),
            at("2026-01-05T00:00:00") + timedelta(minutes=dice.randrange(7 * 1440)),
            value,
        )
        for value in range(1, 80)
    ]
    for name, moment, value in events:
        columns = {"value": value, "value_in_business_hours": value / 4, "user_id": value % 3 + 1, "inbox_id": 1}
        add_event(empty_product, name, moment, **columns, conversation_id=value)
    empty_product.execute(
        "INSERT INTO feature_flags (name, scope, enabled) VALUES ('reporting_events_rollup', 'account:1', %s)",
        is_rollup,
    )
    build(empty_product, date(2026, 1, 5), date(2026, 1, 12))
    query = {"since": "2026-01-06T00:00:00Z", "until": "2026-01-11T00:00:00Z"}
    sources = set()

    for metric, name in METRICS.items():
        for agent in (None, 1, 2):
            own = {} if agent is None else {"dimension": "agent", "id": agent}
            values = [
                value
                for kind, moment, value in events
                if kind == name
                and at(query["since"][:-1]) <= moment < at(query["until"][:-1])
                and agent in (None, value % 3 + 1)
            ]
            found = client.get(f"/v1/accounts/1/reports/{metric}", params={**query, **own}).json()
            expected = len(values) if metric.endswith("count") else sum(values) / len(values)
            assert found["data"]["value"] == pytest.approx(expected), (metric, agent)
            sources.add(found["source"])
            behind = pages(client, f"/v1/accounts/1/reports/{metric}/events", **query, **own, limit=4)
            assert sorted(row["value"] for row in behind) == sorted(values)
            if metric == "avg_first_response_time":
                share = client.get(
                    f"/v1/accounts/1/reports/{metric}/share", params={**query, **own, "target_seconds": 30}
                ).json()["data"]
                assert (share["within"], share["total"]) == (sum(one <= 30 for one in values), len(values))
    assert sources == {"rollup" if is_rollup else "raw"}


def test_report__while_its_day_is_swapped__is_one_or_the_other(empty_product: Product, client: TestClient) -> None:
    """Ten events of a second each, or twenty of three: neither a count nor a mean of both."""
    add_account(empty_product, 1, "Etc/UTC")
    empty_product.execute(
        "INSERT INTO feature_flags (name, scope, enabled) VALUES ('reporting_events_rollup', 'account:1', true)"
    )
    day = date(2026, 1, 6)
    _have(empty_product, 10, 1)
    build(empty_product, day, day)
    seen: set[tuple[int, float, str]] = set()
    is_over = threading.Event()

    def read() -> None:
        query = {"since": f"{day}T00:00:00Z", "until": "2026-01-07T00:00:00Z", "dimension": "agent"}
        while not is_over.is_set():
            found = client.get("/v1/accounts/1/summary", params=query).json()
            (row,) = found["data"]
            seen.add((row["resolved_conversations_count"], row["avg_resolution_time"], found["coverage"]))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(6):
            _have(empty_product, *((20, 3), (10, 1))[number % 2])
            build(empty_product, day, day)
    finally:
        is_over.set()
        reader.join(timeout=30)

    assert seen == {(10, 1.0, "complete"), (20, 3.0, "complete")}


def _have(product: Product, events: int, value: int) -> None:
    """Let the day have so many events of this duration."""
    product.execute("DELETE FROM reporting_events")
    product.execute(
        "INSERT INTO reporting_events (name, account_id, created_at, value, user_id)"
        " SELECT 'conversation_resolved', 1, '2026-01-06 10:00Z', %s, 1 FROM generate_series(1, %s)",
        value,
        events,
    )


def test_segments__through_http__are_those_of_the_engine(product: Product, client: TestClient) -> None:
    dice = random.Random(5)  # noqa: S311 - no secret
    rules = [condition("EQUAL", "plan", "pro"), condition("GREATER_THAN", "age", "30"), condition("IS_SET", "age", "")]
    for number, rule in enumerate(rules, start=11):
        product.add_segment(number, rule)
    people: list[tuple[str, dict[str, Any]]] = [
        (f"person-{number}", {"plan": dice.choice(("pro", "free")), **({"age": number} if dice.random() < 0.6 else {})})
        for number in range(60)
    ]
    product.put(*(document(name, **traits) for name, traits in people))
    assert product.materialise().success
    sizes = {
        row["segment"]: row["memberships"][0]["count"]
        for row in pages(client, f"/v1/projects/{PROJECT}/segments", limit=1)
    }

    for number, rule in enumerate(rules, start=11):
        expected = sorted(name for name, traits in people if _is_in(rule, name, traits))
        path = f"/v1/projects/{PROJECT}/segments/{number}/members"
        assert sizes[number] == len(expected) > 0
        assert [row["identifier"] for row in pages(client, path, environment=ENVIRONMENT, limit=7)] == expected


def _is_in(rules: list[dict[str, Any]], identifier: str, traits: dict[str, Any]) -> bool:
    environment = {"key": f"env-key-{ENVIRONMENT}", "name": "Production"}
    context: Any = {
        "environment": environment,
        "identity": {"identifier": identifier, "key": identifier, "traits": traits},
    }
    segment: Any = {"key": "1", "name": "one", "rules": rules}
    return bool(is_context_in_segment(context, segment))
