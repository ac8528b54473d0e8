"""Tools of assistants: what the API answers, under the token of each call."""

import os
import re
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio
import pytest
from fastapi.testclient import TestClient
from mcp import Client, MCPError, StdioServerParameters
from mcp.types import CallToolResult

from analytics_pipeline.api.mcp import server_of
from analytics_pipeline.api.stores import Scope
from analytics_pipeline.api.tokens import create, revoke
from tests.api.test_routes import documented, question
from tests.api.world import TOKENS, Tokens, application
from tests.product import Product

T = TypeVar("T")
# They show the rows of one's own among those of all tenants.
SHARED = {"/v1/enablements", "/v1/projects", "/v1/accounts"}
EVERYBODY = {"organisation:1", "organisation:2", "account:71", "account:72"}
RANGE = {"since": "2026-01-05T00:00:00Z", "until": "2026-01-15T00:00:00Z"}


def asking(application: Any, token: str, ask: Callable[[Client], Awaitable[T]]) -> T:
    """The outcome of a conversation with the server over streams in memory."""

    async def conversation() -> T:
        async with Client(server_of(application, token), mode="legacy") as client:
            return await ask(client)

    return anyio.run(conversation)


def called(application: Any, token: str, tool: str, arguments: dict[str, Any]) -> CallToolResult:
    return asking(application, token, lambda client: client.call_tool(tool, arguments))


def text_of(result: CallToolResult) -> str:
    return "".join(str(getattr(part, "text", part)) for part in result.content)


def arguments_of(path: str, tenant: int) -> dict[str, Any]:
    """The arguments with which the path is asked about the world's first or second tenant."""
    _, query = question(path)
    places = {
        "project": tenant * 10,
        "account": 70 + tenant,
        "segment": tenant,
        "environment": tenant * 100,
        "identifier": "stranger",
        "organisation": tenant,
        "metric": "avg_first_response_time",
    }
    if "environment" in query:
        query["environment"] = tenant * 100
    return {**query, **{name: value for name, value in places.items() if f"{{{name}}}" in path}}


def name_of(path: str) -> str:
    return "_".join(word for word in path.split("/")[2:] if "{" not in word).replace("-", "_")


def test_tools__every_path_of_figures__has_one_that_says_what_it_takes(asked: TestClient) -> None:
    listed = asking(asked.app, "all", lambda client: client.list_tools()).tools

    assert [*sorted(tool.name for tool in listed)] == sorted({name_of(path) for path in documented(asked)})
    assert len(listed) == len(documented(asked)) >= 20
    assert all(tool.annotations and tool.annotations.read_only_hint for tool in listed)
    assert all(tool.description for tool in listed)
    report = next(tool for tool in listed if tool.name == "accounts_reports")
    assert report.input_schema["required"] == ["metric", "account", "since", "until"]
    assert "avg_first_response_time" in report.input_schema["properties"]["metric"]["enum"]
    assert "$ref" not in str([tool.input_schema for tool in listed])


def test_tools__every_one__answers_as_its_path_does(asked: TestClient) -> None:
    async def all_of(client: Client) -> dict[str, Any]:
        paths = documented(asked)
        return {path: await client.call_tool(name_of(path), arguments_of(path, 1)) for path in paths}

    for path, found in asking(asked.app, "all", all_of).items():
        url, query = question(path)
        body = found.structured_content
        assert not found.is_error, (path, text_of(found))
        assert {"source", "coverage", "missing", "as_of", "reason"} <= body.keys()
        assert body["data"], path
        # The log of statements, and how long something waits, differ with each question.
        if path not in ("/v1/pipeline/costs", "/v1/usage-export/sinks"):
            same = asked.get(url, params=query).json()
            # Events are read as of the moment of the question.
            now = {"as_of": None} if path.startswith("/v1/organisations/") else {}
            assert {**body, **now} == {**same, **now}, path


@pytest.mark.parametrize("token", ["organisation-1", "account-71"])
def test_tools__of_another_tenant__say_what_they_say_of_nothing(asked: TestClient, token: str) -> None:
    async def all_of(client: Client) -> list[tuple[CallToolResult, CallToolResult]]:
        return [
            (
                await client.call_tool(name_of(path), arguments_of(path, 2)),
                await client.call_tool(name_of(path), arguments_of(path, 900)),
            )
            for path in documented(asked)
            if path not in SHARED
        ]

    for others, absent in asking(asked.app, token, all_of):
        assert others.is_error
        assert others == absent
        assert others.structured_content["type"] == "/problems/not-found"


@pytest.mark.parametrize("token", TOKENS)
def test_tools__of_all_tenants_together__show_the_rows_of_ones_own(asked: TestClient, token: str) -> None:
    found = called(asked.app, token, "enablements", {})

    shown = {*re.findall(r"((?:organisation|account):\d+)secret", text_of(found))}
    assert shown == ({TOKENS[token].tenant} if TOKENS[token].tenant else EVERYBODY)


def test_token__taken_away_between_two_calls__opens_nothing_any_more(shared_world: Product) -> None:
    tokens = Tokens({"one": Scope(account_id=71)})

    async def twice(client: Client) -> list[CallToolResult]:
        first = await client.call_tool("enablements", {})
        del tokens.scopes["one"]
        return [first, await client.call_tool("enablements", {})]

    with application(shared_world, tokens) as found:
        before, after = asking(found.app, "one", twice)

    assert (before.is_error, after.is_error) == (False, True)
    assert text_of(after) == (
        "A valid token is needed. The token is not known, has expired, was revoked, or is not for reads."
        " Send the header `Authorization: Bearer <token>`. An operator makes tokens: analytics-pipeline token"
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            {"account": 71, "metric": "reply_time", **RANGE, "till": 1},
            "There are no such arguments. There are: metric,",
        ),
        ({"account": 71, "since": RANGE["since"]}, "Arguments are missing: metric, until."),
        ({"account": "x", "metric": "reply_time", **RANGE}, "account: Input should be a valid integer"),
        # No way out of the place that it stands in.
        ({"account": "..", "metric": "reply_time", **RANGE}, "account: Input should be a valid integer"),
        ({"account": 71, "metric": "nonsense", **RANGE}, "nonsense"),
    ],
)
def test_tool__wrong_arguments__is_not_asked_another_question(
    asked: TestClient, arguments: dict[str, Any], told: str
) -> None:
    found = called(asked.app, "all", "accounts_reports", arguments)

    assert found.is_error
    assert told in text_of(found)
    assert found.structured_content["type"] == "/problems/invalid-question"


@pytest.mark.parametrize("identifier", ["..", "../../..", "a/b", "%2e%2e", "?limit=1", "a b#c", "💥"])
def test_argument__with_the_characters_of_paths__stays_one_argument(asked: TestClient, identifier: str) -> None:
    arguments = {"project": 10, "environment": 100, "identifier": identifier}

    found = called(asked.app, "all", "projects_environments_identities_segments", arguments)

    assert found.structured_content["type"] == "/problems/not-found"


def test_tool__that_there_is_not__is_an_error_of_the_protocol(asked: TestClient) -> None:
    async def ask(client: Client) -> None:
        with pytest.raises(MCPError, match="There is no such tool"):
            await client.call_tool("drop_table", {})

    asking(asked.app, "all", ask)


@pytest.mark.slow
def test_command__over_its_streams__answers_until_its_token_is_revoked(empty_product: Product) -> None:
    """The command as an assistant starts it, which takes seconds."""
    made = create(empty_product.postgres, "assistant", "read")
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "analytics_pipeline", "mcp"],
        env={**os.environ, "ANALYTICS_READ_TOKEN": made.secret},
    )

    async def twice() -> list[CallToolResult]:
        async with Client(server) as client:
            first = await client.call_tool("pipeline_failing", {})
            revoke(empty_product.postgres, "assistant")
            return [first, await client.call_tool("pipeline_failing", {})]

    before, after = anyio.run(twice)

    assert before.structured_content["coverage"] == "complete"
    assert after.structured_content["type"] == "/problems/unauthenticated"
