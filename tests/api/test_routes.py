"""Every route, whatever it is about: who may ask, pages, formats, what a client that has the answer is told."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow.parquet as parquet
import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from analytics_pipeline.api.access import GRANTS
from analytics_pipeline.api.formats import CSV, JSON, NDJSON, PARQUET
from tests.api.world import FIRST, LAST
from tests.thorough import THOROUGH

# They answer the names that the product knows, without an envelope.
SERVED = "/api/analytics"
OPEN = {"/health", "/problems", "/problems/{slug}", "/metrics"}
RANGE = {"since": f"{FIRST}T00:00:00Z", "until": f"{LAST}T00:00:00Z"}
# Of one tenant, what each route is asked for.
PATH = {"project": 10, "account": 71, "segment": 1, "environment": 100, "identifier": "stranger", "organisation": 1}
METRIC = "avg_first_response_time"
QUERIES: Mapping[str, Mapping[str, Any]] = {
    "/v1/accounts/{account}/reports/{metric}/share": {"target_seconds": 60},
    "/v1/accounts/{account}/summary": {"dimension": "agent"},
    "/v1/projects/{project}/segments/{segment}/members": {"environment": 100},
}
ETAGS_OF_LEDGERS = {
    "/v1/accounts/{account}/reports/{metric}",
    "/v1/accounts/{account}/reports/{metric}/timeseries",
    "/v1/accounts/{account}/reports/{metric}/share",
    "/v1/accounts/{account}/bot-summary",
}


def question(path: str) -> tuple[str, dict[str, Any]]:
    """The path of the world's own tenants, and the parameters that it needs."""
    query: dict[str, Any] = {**(RANGE if "/accounts/" in path else {}), **QUERIES.get(path, {})}
    for name, value in {**PATH, "metric": METRIC}.items():
        path = path.replace(f"{{{name}}}", str(value))
    return path, query


def documented(client: TestClient) -> list[str]:
    """The paths of the OpenAPI document that are not open to everybody."""
    found = client.get("/openapi.json").json()["paths"]
    return sorted(path for path in found if path not in OPEN and not path.startswith(SERVED))


@pytest.fixture(scope="session")
def paths(asked: TestClient) -> list[str]:
    found = documented(asked)
    assert len(found) >= 20
    return found


def test_routes__of_every_path__get_their_stores_from_one_place(asked: TestClient, paths: list[str]) -> None:
    def calls(dependant: Any) -> set[Any]:
        return {dependant.call}.union(*(calls(one) for one in dependant.dependencies))

    def flat(routes: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
        for one in routes:
            if hasattr(one, "original_router"):
                yield from flat(one.original_router.routes, prefix + one.include_context.prefix)
            elif isinstance(one, APIRoute):
                yield prefix + one.path_format, one

    app: Any = asked.app
    granted = {path: len(calls(route.dependant) & {*GRANTS}) for path, route in flat(app.routes)}

    assert {path: granted[path] for path in paths} == dict.fromkeys(paths, 1)


def test_routes__without_a_token_or_with_a_wrong_one__answer_nobody(asked: TestClient, paths: list[str]) -> None:
    for path in paths:
        url, query = question(path)
        for header in ({"Authorization": ""}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic YTpi"}):
            found = asked.get(url, params=query, headers=header)
            assert (found.status_code, found.headers["www-authenticate"]) == (401, "Bearer"), url
            assert found.json()["type"] == "/problems/unauthenticated"


def test_routes__every_one__answers_with_rows_and_their_coverage(asked: TestClient, paths: list[str]) -> None:
    empty = []
    for path in paths:
        url, query = question(path)
        found = asked.get(url, params=query)
        assert found.status_code == 200, (url, found.text)
        body = found.json()
        assert {"data", "source", "coverage", "missing", "as_of", "reason"} <= set(body), url
        assert "queries" in found.headers["server-timing"]
        assert int(found.headers["ratelimit-remaining"]) >= 0
        assert found.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in found.headers["content-security-policy"]
        empty += [] if body["data"] else [path]
    assert empty == []


def test_routes__every_format__says_the_same(asked: TestClient, paths: list[str]) -> None:
    for path in paths if THOROUGH else paths[::3]:
        url, query = question(path)
        rows = _rows(asked.get(url, params=query, headers={"Accept": JSON}).json()["data"])
        lines = asked.get(url, params=query, headers={"Accept": NDJSON})
        cells = asked.get(url, params=query, headers={"Accept": CSV})
        columns = asked.get(url, params=query, headers={"Accept": PARQUET})

        assert [json.loads(line) for line in lines.text.splitlines()] == rows, url
        table = parquet.read_table(io.BytesIO(columns.content))
        texts = [*csv.DictReader(io.StringIO(cells.text))]
        assert {*texts[0]} == {*rows[0]} == {*table.column_names}, url
        for row, cell, column in zip(rows, texts, table.to_pylist(), strict=True):
            for name, value in row.items():
                if isinstance(value, int | float) and not isinstance(value, bool):
                    assert (float(cell[name]), column[name]) == (value, value), (url, name)
                if value is None:
                    assert (cell[name], column[name]) == ("", None), (url, name)
        told = json.loads(lines.headers["x-answer"])
        assert {"source", "coverage", "missing", "as_of", "reason"} <= set(told)
    assert asked.get(url, headers={"Accept": "image/png"}).json()["type"] == "/problems/not-acceptable"


def _rows(data: Any) -> list[dict[str, Any]]:
    return data if isinstance(data, list) else [data]


def test_lists__one_row_at_a_time__are_the_whole_list(asked: TestClient, paths: list[str]) -> None:
    lists = 0
    for path in paths:
        url, query = question(path)
        whole = asked.get(url, params=query).json()
        if "next_cursor" not in whole:
            continue
        lists += 1
        # Enough to see that pages follow each other.
        wanted, page = whole["data"][:4], asked.get(url, params={**query, "limit": 1})
        found: list[Any] = []
        while len(found) < len(wanted):
            assert page.status_code == 200, (url, page.text)
            found += page.json()["data"]
            if page.json()["next_cursor"] is None:
                break
            page = asked.get(page.links["next"]["url"])
        assert found == wanted, url
        assert asked.get(url, params={**query, "cursor": "nonsense"}).status_code == 400, url
        assert asked.get(url, params={**query, "limit": 0}).status_code == 400, url
    assert lists >= 15


def test_routes__client_has_the_answer__is_told_so(
    asked: TestClient, paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    by_ledger = set()
    for path in paths:
        url, query = question(path)
        found = asked.get(url, params=query)
        again = asked.get(url, params=query, headers={"If-None-Match": found.headers["etag"]})
        # The log of statements grows with every question.
        if path == "/v1/pipeline/costs":
            continue
        assert (again.status_code, again.content) == (304, b""), url
        assert again.headers["etag"] == found.headers["etag"]
        assert again.headers["cache-control"] == "private, no-cache"
        if (
            'desc="0 queries, 0 rows read"' in again.headers["server-timing"]
            and "clickhouse" in again.headers["server-timing"]
        ):
            by_ledger.add(path)
    assert by_ledger >= ETAGS_OF_LEDGERS


def test_documents__every_parameter_and_answer__has_an_example(asked: TestClient, paths: list[str]) -> None:
    document = asked.get("/openapi.json").json()
    lacking = []
    for path in paths:
        (operation,) = document["paths"][path].values()
        lacking += [] if operation.get("summary") and operation.get("description") else [path]
        lacking += [
            f"{path} {one['name']}"
            for one in operation["parameters"]
            if one["schema"].get("type") != "boolean"
            and one["name"] not in ("cursor", "identifier")
            and not _has_example(one)
        ]
        answers = operation["responses"]["200"]["content"]
        lacking += [] if {*answers} == {JSON, CSV, NDJSON, PARQUET} and "example" in answers[JSON] else [path]
    assert lacking == []


def _has_example(parameter: Mapping[str, Any]) -> bool:
    return "examples" in parameter["schema"] or "examples" in parameter or "default" in parameter["schema"]
