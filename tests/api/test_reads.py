"""Frames for notebooks hold what the API answers, typed, with the answer's word on itself."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any, Literal

import pandas as pd
import pytest
from fastapi.testclient import TestClient

from analytics_pipeline.api.answers import Listing, Told
from analytics_pipeline.api.paging import Page, Taken, cut
from analytics_pipeline.api.problems import Problem
from analytics_pipeline.api.stores import Stores
from analytics_pipeline.flows.product_events.reads import (
    auth,
    cocoons,
    counts,
    failures,
    integrations,
    overview,
    requests,
    tasks,
    users,
)
from analytics_pipeline.reads import ai_usage, opened, pipeline, product_events, reporting, segments, usage_export
from analytics_pipeline.reads.frames import frame, listed
from tests.api.test_routes import METRIC, RANGE
from tests.api.world import FIRST, LAST, marked
from tests.product import Product, today

YESTERDAY = today() - timedelta(days=1)
BERLIN = "Europe/Berlin"
QUERY = reporting.ReportQuery(
    71,
    datetime.combine(FIRST, datetime.min.time(), timezone.utc),
    datetime.combine(LAST, datetime.min.time(), timezone.utc),
)
BY_AGENT = reporting.ReportQuery(71, QUERY.since, QUERY.until, "agent")
SCOPE = ai_usage.Scope("1/", YESTERDAY, YESTERDAY)
DAYS = {"from": f"{YESTERDAY}", "to": f"{today()}"}
OF_AI = {"namespace": "1/", "from": f"{YESTERDAY}", "to": f"{YESTERDAY}"}
ACCOUNT = "/v1/accounts/71"

# A frame, the question of the API that it is the answer to, and its parameters.
Read = Callable[[Stores], pd.DataFrame]
READS: dict[str, tuple[Read, str, dict[str, Any]]] = {
    "history": (
        lambda stores: segments.history(stores, 10, 1, YESTERDAY, today()),
        "/v1/projects/10/segments/1/counts",
        DAYS,
    ),
    "movers": (lambda stores: segments.movers(stores, 10, YESTERDAY, today()), "/v1/projects/10/segment-movers", DAYS),
    "members": (
        lambda stores: segments.members(stores, 10, 1, 100),
        "/v1/projects/10/segments/1/members",
        {"environment": 100},
    ),
    "of_identity": (
        lambda stores: segments.of_identity(stores, 10, 100, f"{marked('organisation', 1)}-0"),
        f"/v1/projects/10/environments/100/identities/{marked('organisation', 1)}-0/segments",
        {},
    ),
    "report": (lambda stores: reporting.report(stores, QUERY, METRIC), f"{ACCOUNT}/reports/{METRIC}", RANGE),
    "timeseries": (
        lambda stores: reporting.timeseries(stores, QUERY, METRIC),
        f"{ACCOUNT}/reports/{METRIC}/timeseries",
        RANGE,
    ),
    "summary": (
        lambda stores: reporting.summary(stores, BY_AGENT),
        f"{ACCOUNT}/summary",
        {**RANGE, "dimension": "agent"},
    ),
    "overview": (lambda stores: reporting.overview(stores, QUERY), f"{ACCOUNT}/overview", RANGE),
    "bots": (lambda stores: reporting.bots(stores, QUERY), f"{ACCOUNT}/bot-summary", RANGE),
    "events": (
        lambda stores: reporting.events(stores, QUERY, METRIC),
        f"{ACCOUNT}/reports/{METRIC}/events",
        RANGE,
    ),
    "share": (
        lambda stores: reporting.share(stores, QUERY, METRIC, 60),
        f"{ACCOUNT}/reports/{METRIC}/share",
        {**RANGE, "target_seconds": 60},
    ),
    "ai metrics": (lambda stores: ai_usage.metrics(stores, SCOPE), "/v1/ai-usage/metrics", OF_AI),
    "ai users": (lambda stores: ai_usage.users(stores, SCOPE), "/v1/ai-usage/users", OF_AI),
    "ai languages": (lambda stores: ai_usage.languages(stores, SCOPE), "/v1/ai-usage/languages", OF_AI),
    "ai events": (lambda stores: ai_usage.events(stores, SCOPE), "/v1/ai-usage/events", OF_AI),
    "statuses": (usage_export.statuses, "/v1/usage-export/sinks", {}),
    "deliveries": (usage_export.deliveries, "/v1/usage-export/deliveries", {}),
    "dead_records": (usage_export.dead_records, "/v1/usage-export/dead-records", {}),
    "freshness": (pipeline.freshness, "/v1/pipeline/freshness", {}),
    "failing": (pipeline.failing, "/v1/pipeline/failing", {}),
    "checks": (pipeline.checks, "/v1/pipeline/checks", {}),
    "check_days": (pipeline.check_days, "/v1/pipeline/checks/days", {}),
    "histories": (pipeline.histories, "/v1/enablements", {}),
}


@pytest.fixture(scope="module")
def notebook(shared_world: Product) -> Iterator[Stores]:
    with opened(shared_world.settings) as found:
        yield found


@pytest.mark.parametrize("name", READS)
def test_frame__of_every_read__holds_what_the_api_answers(notebook: Stores, asked: TestClient, name: str) -> None:
    read, path, query = READS[name]
    answer = asked.get(path, params=query).json()
    found = read(notebook)

    rows = answer["data"] if isinstance(answer["data"], list) else [answer["data"]]
    assert rows
    assert _plain(found) == [{key: _told(key, value, found) for key, value in row.items()} for row in rows]
    assert found.attrs["source"] == answer["source"]
    assert found.attrs["coverage"] == answer["coverage"]
    assert len(found.attrs["missing"]) == len(answer["missing"])
    assert (found.attrs["as_of"] is None) == (answer["as_of"] is None)
    assert (found.attrs["reason"], found.attrs["is_whole"]) == (answer["reason"], True)


def _plain(found: pd.DataFrame) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = [
        {str(key): _value(value) for key, value in row.items()} for row in found.to_dict("records")
    ]
    return records


def _value(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return list(value)
    return None if not isinstance(value, dict) and pd.isna(value) else value


def _told(name: str, value: Any, found: pd.DataFrame) -> Any:
    """A value of JSON as the column holds it."""
    return pd.Timestamp(value) if value is not None and str(found[name].dtype).startswith("datetime64") else value


def test_sizes__are_a_row_for_each_environment(notebook: Stores, asked: TestClient) -> None:
    found = segments.sizes(notebook, 10)

    rows = [
        {"segment": row["segment"], "name": row["name"], **one, "last_synced_at": pd.Timestamp(one["last_synced_at"])}
        for row in asked.get("/v1/projects/10/segments").json()["data"]
        for one in row["memberships"]
    ]
    assert _plain(found) == rows
    assert {name: str(of) for name, of in found.dtypes.items()} == {
        "segment": "Int64",
        "name": "string",
        "environment": "Int64",
        "environment_name": "string",
        "count": "Int64",
        "status": "string",
        "reason": "string",
        "last_synced_at": "datetime64[us, UTC]",
    }


def test_timeseries__of_a_zone__begins_at_its_midnights(notebook: Stores) -> None:
    query = reporting.ReportQuery(71, QUERY.since, QUERY.until, timezone=BERLIN)

    found = reporting.timeseries(notebook, query, METRIC)["period"]

    assert str(found.dt.tz) == BERLIN
    assert {*found.dt.hour} == {0}


def test_costs__are_those_of_the_log_or_unknown(notebook: Stores) -> None:
    found = pipeline.costs(notebook)

    assert (found.attrs["coverage"] == "unknown") == (found.attrs["reason"] is not None)
    assert [*found.columns][:2] == ["organisation", "flow"]


# The questions of an organisation of which the world has events, and the path that answers the same.
QUESTIONS: dict[str, Callable[..., Any]] = {
    "users/daily": users.daily,
    "users/weekly": users.weekly,
    "tasks/daily": tasks.daily,
    "tasks/overview": tasks.overview,
    "counts": counts.by_type,
    "api/latency": requests.hourly,
    "integrations/daily": integrations.daily,
    "auth/daily": auth.daily,
    "cocoons/daily": cocoons.daily,
    "errors/hourly": failures.hourly,
}


@pytest.mark.parametrize("path", QUESTIONS)
def test_product_events__of_every_question__hold_what_the_api_answers(
    notebook: Stores, asked: TestClient, path: str
) -> None:
    query = product_events.EventQuery(1, YESTERDAY, today() + timedelta(days=1))
    answer = asked.get(f"/v1/organisations/1/events/{path}", params=DAYS).json()
    found = product_events.answered(notebook, QUESTIONS[path], query)

    rows = answer["data"] if isinstance(answer["data"], list) else [answer["data"]]
    assert rows
    assert _plain(found) == [{key: _told(key, value, found) for key, value in row.items()} for row in rows]
    assert (found.attrs["coverage"], found.attrs["source"]) == (answer["coverage"], answer["source"])
    assert found.attrs["as_of"].tzinfo is not None


def test_product_events__themselves_and_at_a_glance__are_those_of_the_organisation(notebook: Stores) -> None:
    query = product_events.EventQuery(1, YESTERDAY, today() + timedelta(days=1))

    stored = product_events.events(notebook, query, most=4)

    assert (len(stored), stored.attrs["is_whole"]) == (4, False)
    assert {*stored["organisation_id"]} == {1}
    assert str(stored["timestamp"].dtype) == "datetime64[us, UTC]"
    assert product_events.answered(notebook, users.active, query)["value"].tolist() == [1]
    assert product_events.answered(notebook, overview.overview, 1)["total_users"].tolist() == [1]


def test_project__that_there_is_not__is_told(notebook: Stores) -> None:
    with pytest.raises(Problem, match="nothing of that name"):
        segments.sizes(notebook, 999)


@dataclass(frozen=True)
class Inner:
    number: int
    kind: Literal["a", "b"]


@dataclass(frozen=True)
class Row:
    day: date
    at: datetime | None
    rate: int | float | None
    is_on: bool | None
    inner: Inner | None
    parts: tuple[Inner, ...]


MOMENT = datetime(2026, 3, 29, 1, 30, 0, 5, timezone.utc)
ROWS = [
    Row(date(2026, 3, 29), MOMENT, 1, is_on=True, inner=Inner(2**62 + 1, "a"), parts=(Inner(1, "b"),)),
    Row(date(2026, 3, 30), None, None, None, None, ()),
]


def test_frame__of_unknown_values__keeps_types_and_says_unknown() -> None:
    told = Told("ledger", MOMENT, ((date(2026, 3, 1), date(2026, 3, 2)),))

    found = frame(Row, ROWS, told)

    types = {
        "day": "datetime64[s]",
        "at": "datetime64[us, UTC]",
        "rate": "Float64",
        "is_on": "boolean",
        "number": "Int64",
        "kind": "string",
        "parts": "object",
    }
    assert {name: str(of) for name, of in found.dtypes.items()} == types
    assert {name: str(of) for name, of in frame(Row, [], told).dtypes.items()} == types
    assert [*found.loc[0]] == [
        pd.Timestamp(2026, 3, 29),
        pd.Timestamp(MOMENT),
        1.0,
        True,
        2**62 + 1,
        "a",
        ROWS[0].parts,
    ]
    assert found.loc[1, ["at", "rate", "is_on", "number", "kind"]].isna().all()
    assert found.attrs == {
        "source": "ledger",
        "coverage": "partial",
        "missing": told.missing,
        "as_of": MOMENT,
        "reason": None,
        "is_whole": True,
    }


@pytest.mark.parametrize(("most", "is_whole"), [(25_000, True), (24_999, False), (10_000, False), (3, False)])
def test_list__of_many_pages__has_every_row_once_up_to_the_most(most: int, is_whole: bool) -> None:
    everything = [Inner(number, "a") for number in range(25_000)]

    def route(page: Page) -> Listing[Inner]:
        return Listing(cut(everything, page, lambda row: (row.number,), tuple[int]), Told("ledger"))

    found = listed(route, most)

    assert found["number"].tolist() == [*range(most)]
    assert found.attrs["is_whole"] is is_whole


def test_list__of_many_pages__lacks_what_any_page_lacks() -> None:
    days = [date(2026, 1, 1) + timedelta(days=number) for number in range(3)]

    def route(page: Page) -> Listing[Inner]:
        number = int(page.cursor or 0)
        more = f"{number + 1}" if number < 2 else None
        told = Told("ledger", MOMENT - timedelta(days=number), ((days[number], days[number]), (days[0], days[0])))
        return Listing(Taken([Inner(number, "b")], more), told)

    found = listed(route)

    assert found["number"].tolist() == [0, 1, 2]
    assert found.attrs["missing"] == tuple((day, day) for day in days)
    assert found.attrs["as_of"] == MOMENT - timedelta(days=2)


def test_frame__without_pandas__says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)

    with pytest.raises(ModuleNotFoundError, match=r"pip install 'analytics-pipeline\[notebooks\]'"):
        frame(Row, ROWS, Told("ledger"))
