"""Whatever others have, a tenant is told the same: bodies, headers, ETags, counts, errors, pages and tools.

Every tenant asks everything that the OpenAPI document and the list of tools have, before and after the others' rows
change. A route of tomorrow is asked as well, and so is a table of tomorrow that names a tenant. Quickly,
`test_access.py` and `pages/test_isolation.py` look for names of others in what a tenant is told.
"""

import difflib
import json
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import anyio
import pytest
from fastapi.testclient import TestClient
from mcp import Client

from analytics_pipeline.api.app import create_app
from analytics_pipeline.api.formats import CSV, JSON, NDJSON, PARQUET
from analytics_pipeline.api.mcp import server_of
from analytics_pipeline.api.tokens import create
from analytics_pipeline.flows.row_policies import TENANT_COLUMNS
from tests.api.pages.test_isolation import PAGES
from tests.api.test_access import HOSTILE
from tests.api.test_mcp import arguments_of, name_of, text_of
from tests.api.test_routes import question
from tests.api.world import TOKENS, marked, world
from tests.databases import Databases
from tests.product import Product

QUESTIONS = 4
pytestmark = pytest.mark.slow
# Nothing of theirs changes.
OWN = ("organisation-1", "account-71")
# Tokens that open nothing, by what became of them, beside one of each scope.
CLOSED = ("expired", "revoked", "ingest")
NUMBERS = (0, 1, 2, 3, 10, 20, 30, 51, 52, 71, 72, 73, 100, 200, 300, 4_000, 2**63 - 1)
# They are of the moment, or of how often somebody has asked.
CHANGING = {"content-length", "server-timing", "ratelimit-remaining", "ratelimit-reset", "date", "retry-after"}


_MOMENTS = re.compile(r'"as_of\W+\d[^"]*"|\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?(Z| UTC)?')


@dataclass(frozen=True)
class Question:
    """A request."""

    path: str
    query: tuple[tuple[str, str], ...] = ()
    accept: str = JSON


class Questions:
    """Questions made of an OpenAPI document, the same ones for the same seed."""

    def __init__(self, document: Mapping[str, Any], cursors: list[str], seed: int) -> None:
        self.document, self.cursors = document, cursors
        self.dice = random.Random(seed)  # noqa: S311 - no secret

    def all(self) -> Iterator[Question]:
        for path, operations in self.document["paths"].items():
            for _ in range(QUESTIONS):
                yield self._made(path, operations["get"].get("parameters", []))

    def _made(self, path: str, parameters: list[Mapping[str, Any]]) -> Question:
        url, query = path, dict(_plain(path)[1])
        for one in parameters:
            value = self._value(one)
            if one["in"] == "path":
                url = url.replace(f"{{{one['name']}}}", value)
            elif one["in"] == "query" and self.dice.random() < 0.4:
                query[one["name"]] = value
        return Question(url, tuple(query.items()), self.dice.choice((JSON, JSON, CSV, NDJSON, PARQUET, "text/html")))

    def _value(self, parameter: Mapping[str, Any]) -> str:
        name, schema = parameter["name"], json.dumps(parameter["schema"])
        choices = re.findall(r'"enum": \[(.*?)\]', schema)
        pools: list[list[str]] = [
            [*self.cursors] if name == "cursor" else [str(number) for number in NUMBERS],
            [marked(kind, tenant) for kind in ("organisation", "account") for tenant in (1, 2, 71, 72)]
            + [f"{marked('organisation', tenant)}-1" for tenant in (1, 2)],
            [one.strip('" ') for one in choices[0].split(",")] if choices else ["2026-01-05", "2026-01-09T00:00:00Z"],
            [text for text in HOSTILE if parameter["in"] == "query" or text.isalnum()],
        ]
        weights = (2, 2 if '"string"' in schema else 0, 6 if choices else 1, 1)
        (pool,) = self.dice.choices(pools, weights)
        return self.dice.choice(pool)


def _plain(path: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    url, query = question(path.replace("{slug}", "not-found"))
    return url, tuple((name, str(value)) for name, value in query.items())


@pytest.fixture(scope="module")
def own_world(
    stack_environment: Mapping[str, str], stores: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Product]:
    with world(stack_environment, stores, tmp_path_factory.mktemp("tenants") / "landing") as product:
        yield product


@pytest.fixture(scope="module")
def secrets(own_world: Product) -> dict[str, str]:
    """Real tokens, by their names."""
    made = {
        name: create(own_world.postgres, name, "read", organisation_id=one.organisation_id, account_id=one.account_id)
        for name, one in TOKENS.items()
    }
    closed = {name: create(own_world.postgres, name, "read", organisation_id=1) for name in CLOSED[:2]}
    closed["ingest"] = create(own_world.postgres, "ingest", "ingest", organisation_id=1)
    own_world.execute(
        "UPDATE analytics_pipeline.api_tokens SET expires_at = CASE name WHEN 'expired' THEN now() END,"
        " revoked_at = CASE name WHEN 'revoked' THEN now() END WHERE name IN ('expired', 'revoked')"
    )
    return {name: one.secret for name, one in {**made, **closed}.items()}


@pytest.fixture(scope="module")
def service(own_world: Product) -> Iterator[TestClient]:
    """The application with the tokens of the ledger."""
    often = {"api_requests_per_minute": 1_000_000, "api_requests_per_day": 100_000_000}
    app: Any = create_app(own_world.settings.model_copy(update=often))
    with TestClient(app, raise_server_exceptions=False, follow_redirects=False) as client:
        yield client


def test_tenants__whatever_others_have__are_told_the_same(
    own_world: Product, service: TestClient, secrets: Mapping[str, str]
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    plain = [Question(*_plain(path)) for path in service.get("/openapi.json").json()["paths"]]
    made = [*_questions(service, secrets["all"], seed), *(Question(path, accept="text/html") for path in PAGES)]
    asked = {name: [*plain, *made] if name in OWN else plain for name in TOKENS}
    before = {name: _told(service, secrets[name], asked[name]) for name in TOKENS}

    _change_others(own_world)

    after = {name: _told(service, secrets[name], asked[name]) for name in TOKENS}
    differ = {
        name: {
            one: (before[name][one], after[name][one]) for one in after[name] if before[name][one] != after[name][one]
        }
        for name in TOKENS
    }
    assert {name: _shown(differ[name]) for name in OWN} == {name: [] for name in OWN}, seed
    # They are not the same for who sees what has changed.
    for name, at_least in (("all", 8), ("organisation-2", 2), ("account-72", 2)):
        assert len(differ[name]) >= at_least, (name, [*differ[name]])


def test_tenants__tokens_that_open_nothing__are_told_the_same_of_everything(
    service: TestClient, secrets: Mapping[str, str]
) -> None:
    asked = [Question(*_plain(path)) for path in service.get("/openapi.json").json()["paths"]]
    told = [_answers(service, secrets[name], asked) for name in CLOSED]

    assert told[0] == told[1] == told[2]
    assert {status for one, (status, *_) in told[0].items() if "/v1/" in one or "/api/" in one} == {401}


def _questions(service: TestClient, secret: str, seed: int) -> list[Question]:
    """Questions of everybody's ids, with cursors of others' lists among their values."""
    document = service.get("/openapi.json").json()
    first = [
        service.get(url, params={**dict(query), "limit": 1}, headers=_headers(secret)).json().get("next_cursor")
        for url, query in map(_plain, document["paths"])
        if url.startswith("/v1/")
    ]
    return [*Questions(document, [one for one in first if one], seed).all()]


def _headers(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


Answer = tuple[int, str, str]


def _told(service: TestClient, secret: str, asked: list[Question]) -> dict[str, Answer]:
    """Everything that the holder of the token is told, over HTTP and by the tools of assistants."""

    async def tools() -> dict[str, Answer]:
        app: Any = service.app
        async with Client(server_of(app, secret), mode="legacy") as client:
            found = {}
            for path in app.openapi()["paths"]:
                if path.startswith("/v1/"):
                    result = await client.call_tool(name_of(path), arguments_of(path, 1))
                    found[f"tool of {path}"] = (int(result.is_error or 0), "", _lasting(text_of(result)))
            return found

    return {**_answers(service, secret, asked), **anyio.run(tools)}


def _answers(service: TestClient, secret: str, asked: list[Question]) -> dict[str, Answer]:
    """The status, headers and body of each answer, as far as they are not of the moment."""
    found = {}
    for one in asked:
        answer = service.get(one.path, params=one.query or None, headers={**_headers(secret), "Accept": one.accept})
        assert answer.status_code < 500, (one, answer.text)
        headers = {name: value for name, value in answer.headers.items() if name not in CHANGING}
        found[str(one)] = (answer.status_code, _lasting(str(headers)), _lasting(answer.content.decode("latin-1")))
    return found


def _lasting(text: str) -> str:
    """The text without what tells when the question was asked."""
    return _MOMENTS.sub("", text)


def _shown(differ: Mapping[str, tuple[Answer, Answer]]) -> list[tuple[str, list[str]]]:
    """The beginnings of lines that differ."""

    def lines(answer: Answer) -> list[str]:
        return "\n".join(map(str, answer)).split("\n")

    return [
        (question, [line[:200] for line in difflib.unified_diff(lines(old), lines(new), n=0)])
        for question, (old, new) in differ.items()
    ]


def _change_others(product: Product) -> None:
    """Let there be a third of every tenant, and other values in the rows of the second."""
    for relation, (tenant, column) in TENANT_COLUMNS.items():
        if tenant == "instance":
            continue
        second, third = {"organisation": (2, 3), "project": (20, 30), "account": (72, 73)}[tenant]
        columns = {name: type_ for name, type_, *_ in product.clickhouse.query(f"DESCRIBE TABLE {relation}")}
        if relation in ("reporting_events", "analytics_events", "analytics_event_ids"):
            changed = {"reporting_events": "value", "analytics_events": "error_message"}.get(relation)
            if changed:
                product.clickhouse.execute(
                    f"ALTER TABLE {relation} UPDATE {changed} = {'value * 7' if changed == 'value' else repr('x')}"
                    f" WHERE {column} = {second} SETTINGS mutations_sync = 1"
                )
            continue
        replaced = {column: third, "project_id": 30} if "project_id" in columns else {column: third}
        listed = ", ".join(f"CAST({value} AS {columns[name]}) AS {name}" for name, value in replaced.items())
        product.clickhouse.execute(
            f"INSERT INTO {relation} SELECT * REPLACE ({listed}) FROM {relation} FINAL WHERE {column} = {second}"
        )
    _change_ledgers(product)


def _change_ledgers(product: Product) -> None:
    product.add_organisation(3)
    product.add_project(30, 3)
    product.add_environment(300, 30, marked("organisation", 3), "third")
    product.add_segment(3, [], 30)
    for statement in (
        "UPDATE segments SET name = name || ' changed' WHERE project_id = 20",
        "UPDATE environments SET name = name || ' changed' WHERE project_id = 20",
        "UPDATE conversations SET assignee_id = assignee_id + 1, created_at = created_at + interval '1 hour'"
        " WHERE account_id = 72",
        "INSERT INTO accounts (id, name) VALUES (73, 'third')",
        "UPDATE analytics_pipeline.segment_membership_counts SET count = count + 7 WHERE organisation_id = 2",
        "UPDATE analytics_pipeline.identity_loads SET rows = rows + 7 WHERE organisation_id = 2",
        "UPDATE analytics_pipeline.enablements SET error = error || 'changed', attempt = 5"
        " WHERE scope IN ('organisation:2', 'account:72')",
        "INSERT INTO analytics_pipeline.enablements (feature, scope, epoch, setting, state, last_attempt)"
        " VALUES ('segments', 'organisation:3', 1, 'on', 'failed', 8)",
        "UPDATE analytics_pipeline.check_outcomes SET found = found + 1 WHERE outcome = 'failed'",
        "INSERT INTO analytics_pipeline.dead_letters (flow, unit, record_key, reason, payload, run_id)"
        " VALUES ('product_events', 'organisation 2', 'x', 'changed', '', '')",
        "UPDATE analytics_pipeline.export_deliveries SET records = records + 1",
    ):
        product.execute(statement)
    create(product.postgres, "another", "read", organisation_id=2)
