"""Who may read what: tokens, anonymous reads of this machine, limits, bodies; and nobody sees another tenant's rows."""

import asyncio
import base64
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from typing import Any
from urllib.parse import quote

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from analytics_pipeline.api import tokens
from analytics_pipeline.api.app import create_app
from analytics_pipeline.api.formats import CSV, JSON, NDJSON
from analytics_pipeline.api.headers import SECURITY, Guard
from analytics_pipeline.api.stores import Connections, Scope, Stores
from analytics_pipeline.flows import row_policies
from analytics_pipeline.flows.row_policies import TENANT_COLUMNS
from tests.api.test_routes import documented, question
from tests.api.world import ACCOUNTS, ORGANISATIONS, TOKENS, Tokens, application, marked
from tests.product import Product
from tests.thorough import THOROUGH, rarely

LISTS = "/v1/enablements"
_ABSENT = 4_000
TWO_SCOPES = ("organisation-1", "all")


def headers(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def test_tokens__revoked_expired_or_for_ingestion__read_nothing(empty_product: Product) -> None:
    store = empty_product.postgres
    made = {
        "reader": tokens.create(store, "reader", "read"),
        "late": tokens.create(store, "late", "read", lifetime=timedelta(seconds=-1)),
        "sender": tokens.create(store, "sender", "ingest", organisation_id=1),
    }
    app: Any = create_app(empty_product.settings)
    with TestClient(app) as client:
        found = {name: client.get(LISTS, headers=headers(one.secret)).status_code for name, one in made.items()}
        tokens.revoke(store, "reader")
        after = client.get(LISTS, headers=headers(made["reader"].secret))

    assert found == {"reader": 200, "late": 401, "sender": 401}
    assert after.status_code == 401
    assert made["reader"].secret not in after.text


@pytest.mark.parametrize(
    "told",
    [{"X-Forwarded-For": "127.0.0.1"}, {"Forwarded": "for=127.0.0.1"}, {"Via": "1.1 proxy"}, {"X-Real-IP": "::1"}],
    ids=lambda told: next(iter(told)),
)
def test_anonymous__by_a_proxy_of_this_machine__reads_nothing(shared_world: Product, told: dict[str, str]) -> None:
    app: Any = create_app(shared_world.settings, Tokens(), anonymous=True)
    with TestClient(app, base_url="http://127.0.0.1:8093", client=("127.0.0.1", 1)) as asked:
        assert asked.get("/v1/pipeline/freshness", headers=told).status_code == 401
        assert asked.get("/v1/pipeline/freshness").status_code == 200


@pytest.mark.parametrize(
    ("client", "host", "status"),
    [
        ("127.0.0.1", "127.0.0.1:8093", 200),
        ("::1", "localhost:8093", 200),
        ("127.0.0.1", "rebound.example.com", 401),
        # No name that HTTP knows, but one that browsers and name servers take.
        ("127.0.0.1", "re{bound.example.com", 401),
        ("10.0.0.1", "127.0.0.1:8093", 401),
    ],
)
def test_anonymous__reads__only_from_this_machine_by_its_own_name(
    shared_world: Product, client: str, host: str, status: int
) -> None:
    app: Any = create_app(shared_world.settings, Tokens(), anonymous=True)
    with TestClient(app, base_url="http://127.0.0.1:8093", client=(client, 1)) as asked:
        assert asked.get("/v1/pipeline/freshness", headers={"Host": host}).status_code == status


def test_limits__of_a_caller__are_told_and_kept(shared_world: Product) -> None:
    few = shared_world.settings.model_copy(update={"api_requests_per_minute": 2})
    app: Any = create_app(few, Tokens())
    with TestClient(app) as client:
        answers = [client.get(LISTS, headers=headers("all")) for _ in range(2)]
        # As the window slides, a little of it is free again.
        while answers[-1].status_code == 200 and len(answers) < 6:
            answers.append(client.get(LISTS, headers=headers("all")))
        other = client.get(LISTS, headers=headers("account-71"))

    assert [one.status_code for one in answers[:2]] == [200, 200]
    assert (answers[-1].status_code, answers[-1].headers["ratelimit-remaining"]) == (429, "0")
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    assert other.status_code == 200


def test_limits__of_an_answer_of_many_queries__count_them(asked: TestClient) -> None:
    def left(path: str) -> int:
        return int(asked.get(path, headers=headers("organisation-1")).headers["ratelimit-remaining"])

    # The window slides meanwhile, which frees none of so few.
    before = left(LISTS)
    assert before - left(LISTS) == 1
    found = asked.get("/v1/organisations/1/events/overview", headers=headers("organisation-1"))
    queries = int(re.findall(r"(\d+) queries", found.headers["server-timing"])[0])
    assert queries >= 10
    assert before - int(found.headers["ratelimit-remaining"]) == 1 + queries


def test_limits__less_left_than_queries__end_at_nothing(shared_world: Product) -> None:
    few = shared_world.settings.model_copy(update={"api_requests_per_minute": 5})
    app: Any = create_app(few, Tokens())
    with TestClient(app) as client:
        found = [client.get("/v1/organisations/1/events/overview", headers=headers("all")) for _ in range(2)]

    assert (found[0].status_code, found[0].headers["ratelimit-remaining"]) == (200, "0")
    assert found[1].status_code == 429


def test_timing__of_a_tenant__tells_no_rows(asked: TestClient) -> None:
    path = "/v1/organisations/1/events/users/daily"
    tenant, everybody = (asked.get(path, headers=headers(one)).headers["server-timing"] for one in TWO_SCOPES)

    assert "queries" in tenant
    assert "rows" not in tenant
    assert "rows read" in everybody


def test_head__of_every_path__is_get_without_a_body(asked: TestClient) -> None:
    for path in ("/health", "/v1/enablements", "/v1/nothing", "/v1/accounts/71/overview", "/openapi.json"):
        whole, head = asked.get(path), asked.head(path)
        assert (head.status_code, head.content) == (whole.status_code, b""), path
        same = ("content-type", "content-length", "etag", "x-content-type-options")
        assert [head.headers.get(name) for name in same] == [whole.headers.get(name) for name in same], path


def test_defects__are_answered_with_every_header(asked: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr("analytics_pipeline.api.routes.pipeline.freshness", broken)
    found = asked.get("/v1/pipeline/freshness")

    assert (found.status_code, found.json()["type"]) == (500, "/problems/defect")
    assert found.headers.items() >= {name.lower(): value for name, value in SECURITY.items()}.items()
    assert "ratelimit-remaining" in found.headers
    assert "secret" not in found.text


def test_bodies__larger_than_a_question__are_refused(asked: TestClient) -> None:
    found = asked.request("GET", "/v1/enablements", content=b"x" * 65_537)

    assert (found.status_code, found.json()["type"]) == (413, "/problems/body-too-large")
    assert asked.post("/v1/enablements").status_code == 405


def test_bodies__of_unknown_length__are_refused_before_they_are_read(asked: TestClient) -> None:
    read: list[bytes] = []

    def endless() -> Iterator[bytes]:
        for _ in range(10):
            read.append(b"x" * 65_536)
            yield read[-1]

    answer = asked.post("/sign-in", content=endless())

    assert (answer.status_code, answer.headers["connection"]) == (413, "close")


def test_query__that_is_no_text__is_refused() -> None:
    sent: list[Any] = []

    async def refused() -> None:
        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "GET", "path": "/v1/enablements", "query_string": b"x=\xff", "headers": []}
        await Guard(_unreachable, _unanswered)(scope, _unreachable, send)

    asyncio.run(refused())

    assert sent[0]["status"] == 400


async def _unreachable(*_: Any) -> Any:
    raise AssertionError


def _unanswered(*_: Any) -> Any:
    raise AssertionError


def test_others__and_what_is_absent__look_the_same(asked: TestClient) -> None:
    for path in documented(asked):
        for token, scope in TOKENS.items():
            url, query = question(path)
            if _may(path, scope, 1, 71):
                continue
            names = ("{project}", "{account}", "{organisation}")
            absent, _ = question(re.sub("|".join(map(re.escape, names)), str(_ABSENT), path))
            answers = [asked.get(one, params=query, headers=headers(token)) for one in (url, absent)]
            assert [one.status_code for one in answers] == [404, 404], (url, token)
            assert answers[0].content == answers[1].content
            assert _alike(answers[0]) == _alike(answers[1])


def _alike(answer: Any) -> dict[str, str]:
    changing = {"server-timing", "ratelimit-remaining", "ratelimit-reset", "date"}
    return {name: value for name, value in answer.headers.items() if name not in changing}


def _may(path: str, scope: Scope, organisation: int, account: int) -> bool:
    """The rule in other words than the service's: everything; else one's own organisation's or account's paths."""
    if scope.is_everything or path == "/v1/enablements":
        return True
    if path in ("/v1/projects", "/v1/accounts"):
        return (scope.account_id is None) == (path == "/v1/projects")
    if "/projects/" in path or "/organisations/" in path:
        return scope.organisation_id == organisation
    return "/accounts/" in path and scope.account_id == account


@settings(max_examples=300 if THOROUGH else 60, deadline=None)
@given(data=st.data())
def test_tenants__whoever_asks_for_whatever__sees_no_other_tenants_rows(asked: TestClient, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(documented(asked)))
    token = data.draw(st.sampled_from([*TOKENS]))
    organisation, account = data.draw(st.sampled_from(ORGANISATIONS)), data.draw(st.sampled_from(ACCOUNTS))
    numbers = st.sampled_from([1, 2, 10, 20, 51, 52, 71, 72, 100, 200, _ABSENT, 2**63 - 1])
    url = path.replace("{project}", str(organisation * 10)).replace("{account}", str(account))
    url = url.replace("{organisation}", str(organisation))
    url = re.sub(r"\{(segment|environment)\}", lambda _: str(data.draw(numbers)), url)
    url = url.replace("{identifier}", marked("organisation", data.draw(st.sampled_from(ORGANISATIONS))) + "-1")
    url, query = question(url)
    query |= {"environment": data.draw(numbers), "id": data.draw(numbers), "dimension": "agent"}
    accept = {"Accept": data.draw(st.sampled_from([JSON, CSV, NDJSON]))}

    found = asked.get(url, params=query, headers={**headers(token), **accept})

    scope = TOKENS[token]
    assert found.status_code in (200, 400, 404)
    if not _may(path, scope, organisation, account):
        assert (found.status_code, "etag" in found.headers) == (404, False)
    for text in (found.text, json.dumps(dict(found.headers))):
        assert {*_tenants(text)} <= _visible(scope)


def _tenants(text: str) -> list[tuple[str, int]]:
    return [(kind, int(number)) for kind, number in re.findall(r"(organisation|account):?(\d+)secret", text)]


def _visible(scope: Scope) -> set[tuple[str, int]]:
    everybody = {*(("organisation", one) for one in ORGANISATIONS), *(("account", one) for one in ACCOUNTS)}
    own = {("organisation", scope.organisation_id), ("account", scope.account_id)}
    return everybody if scope.is_everything else {one for one in everybody if one in own}


def test_statements__of_a_tenant__cannot_read_another_tenants_rows(shared_world: Product) -> None:
    """Whatever a read asks, the stores of an organisation hide everybody else's rows, and change nothing."""
    connections = Connections(shared_world.settings)
    narrowed = {"additional_table_filters": row_policies.of_organisation(1, [10])}
    store = Stores(connections, narrowed).clickhouse
    every = Stores(connections, {}).clickhouse

    assert every.query("SELECT DISTINCT project_id FROM identities ORDER BY project_id") == [(10,), (20,)]
    assert store.query("SELECT DISTINCT project_id FROM identities FINAL") == [(10,)]
    assert store.query("SELECT DISTINCT organisation_id FROM segment_counts AS c FINAL") == [(1,)]
    for table in ("reporting_events", "ai_usage_daily", "duo_chat_events"):
        assert store.scalar(f"SELECT count() FROM {table}") == 0
    with pytest.raises(DatabaseError, match="readonly"):
        store.execute("TRUNCATE TABLE segment_counts")
    with pytest.raises(DatabaseError, match="Limit for result exceeded"):
        store.query("SELECT number FROM numbers(200000)")
    connections.close()


def test_relations__of_the_schema__say_whose_their_rows_are(shared_world: Product) -> None:
    """A relation without a word on that is shown to no tenant only because no route reads it: say it."""
    tables = {name for name in shared_world.tables() if not name.startswith(("schema_versions", "staging_"))}
    views = {"segment_counts_latest"}

    assert tables - views - {one for one in tables if one.endswith("_by_day")} <= {*TENANT_COLUMNS}


HOSTILE = (
    "'",
    '"',
    "\\",
    "`",
    "\0",
    "%00",
    "{x:String}",
    "); DROP TABLE x; --",
    "💥",
    "\u202e",
    "a" * 5_000,
    "-1",
    "1e999",
)


@pytest.mark.parametrize("shift", [0, 6, *rarely(*sorted({*range(len(HOSTILE))} - {0, 6}))])
def test_parameters__hostile__are_answered_or_refused(asked: TestClient, shift: int) -> None:
    """All texts go round through all parameters: each shift asks every parameter with another one of them."""
    turn = count(shift)
    document = asked.get("/openapi.json").json()["paths"]
    for path in documented(asked):
        url, query = question(path)
        for parameter in next(iter(document[path].values()))["parameters"]:
            if parameter["in"] == "query":
                hostile = HOSTILE[next(turn) % len(HOSTILE)]
                found = asked.get(url, params={**query, parameter["name"]: hostile})
                assert found.status_code in (200, 400, 404), (url, parameter["name"], hostile[:20], found.text)


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/v1/accounts/71/reports/resolutions_count/timeseries", ["2026-01-06T00:00:00"]),
        ("/v1/accounts/71/reports/resolutions_count/events", ["2026-01-06T00:00:00", 5]),
        ("/v1/ai-usage/events", ["0001-01-01T00:00:00+14:00", "chat", 5]),
        ("/v1/ai-usage/events", ["9999-12-31T23:59:59-14:00", "chat", 5]),
        ("/v1/ai-usage/users", [-5, 7]),
    ],
)
def test_cursors__of_somebodys_own_making__are_refused(asked: TestClient, path: str, key: list[Any]) -> None:
    _, query = question(path.replace("resolutions_count", "{metric}"))
    cursor = base64.urlsafe_b64encode(json.dumps(key).encode()).decode()

    assert asked.get(path, params={**query, "cursor": cursor}).status_code == 400


def test_identifiers__hostile__are_of_nobody(asked: TestClient) -> None:
    for text in HOSTILE:
        found = asked.get(f"/v1/projects/10/environments/100/identities/{quote(text, safe='')}/segments")
        assert found.status_code in (400, 404), text[:20]


def test_answers__of_no_store__name_no_address(shared_world: Product) -> None:
    gone = {"clickhouse_url": SecretStr("http://user:secret@127.0.0.1:1/analytics")}
    with application(_without(shared_world, gone), Tokens()) as asked:
        found = asked.get(*question("/v1/pipeline/costs")[:1])

    assert (found.status_code, found.json()["type"]) == (503, "/problems/unavailable")
    assert "127.0.0.1" not in found.text
    assert "secret" not in found.text


def _without(product: Product, changes: dict[str, Any]) -> Product:
    return Product(product.settings.model_copy(update=changes), product.clickhouse, product.table)


def test_projects_and_accounts__within_a_scope__are_its_own(asked: TestClient) -> None:
    def listed(path: str, token: str) -> tuple[int, list[int]]:
        found = asked.get(f"/v1/{path}s", headers=headers(token))
        return found.status_code, [row[path] for row in found.json().get("data", [])]

    assert {token: (listed("project", token), listed("account", token)) for token in TOKENS} == {
        "all": ((200, [10, 20]), (200, [71, 72])),
        "organisation-1": ((200, [10]), (404, [])),
        "organisation-2": ((200, [20]), (404, [])),
        "account-71": ((404, []), (200, [71])),
        "account-72": ((404, []), (200, [72])),
    }
