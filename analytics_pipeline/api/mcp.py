"""The read API for assistants: a Model Context Protocol server, each of whose tools is a path of the API.

Calling a tool is a request to the application, in this process, with the token. So what holds for requests holds for
tools: the token is looked up at every call, its scope and its limits apply, answers say how far they can be trusted,
and errors are problems.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient, Response
from mcp import MCPError
from mcp.server import Server
from mcp.server.stdio import stdio_server
from mcp.types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    TextContent,
    Tool,
    ToolAnnotations,
)

from analytics_pipeline.api.app import VERSION, create_app
from analytics_pipeline.api.problems import INVALID, Problem, response_of
from analytics_pipeline.config import Settings

_INSTRUCTIONS = """
Figures that analytics_pipeline has computed, to be read. Every answer has its coverage: `complete`, `partial` (the days
of `missing`, in UTC, are lacking) or `unknown` (see `reason`); where it was read (`source`), and as of when (`as_of`).
Say so when you show a figure that is not complete. null is unknown or of nothing, never 0. `next_cursor` is the
`cursor` of a list's next page. What is not found is not there, or not within the token's scope.
"""
_READS_ONLY = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)


@dataclass(frozen=True)
class _Path:
    """A path of the API and the tool that asks it. `places` are the arguments that stand in the path."""

    template: str
    places: frozenset[str]
    tool: Tool

    def checked(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """The arguments that are given. One that is not known is refused: the answer would be to another question.

        Raises:
            Problem: one is unknown or missing.
        """
        given = {name: value for name, value in arguments.items() if value is not None}
        schema = self.tool.input_schema
        unknown, missing = given.keys() - schema["properties"].keys(), {*schema["required"]} - given.keys()
        if unknown:
            raise Problem(INVALID, f"There are no such arguments. There are: {', '.join(schema['properties'])}.")
        if missing:
            raise Problem(INVALID, f"Arguments are missing: {', '.join(sorted(missing))}.")
        return given

    def address(self, arguments: Mapping[str, Any]) -> str:
        """The path with the arguments that stand in it."""
        return re.sub(r"\{(\w+)\}", lambda place: _quoted(arguments[place[1]]), self.template)


def _quoted(value: object) -> str:
    """The value as one part of a path, whatever characters it has; `..` is no way out of it."""
    return quote(str(value), safe="").replace(".", "%2E")


def server_of(app: FastAPI, token: str) -> Server[Any]:
    """The server, which asks the application with the token."""
    paths = {path.tool.name: path for path in _paths(app)}

    async def list_tools(_: object, __: object) -> ListToolsResult:
        return ListToolsResult(tools=[path.tool for path in paths.values()])

    async def call_tool(_: object, asked: CallToolRequestParams) -> CallToolResult:
        path = paths.get(asked.name)
        if path is None:
            raise MCPError(INVALID_PARAMS, "There is no such tool.")
        try:
            return _result(await _answer(app, token, path, path.checked(asked.arguments or {})))
        except Problem as problem:
            return _problem(json.loads(bytes(response_of(problem).body)))

    return Server(
        "analytics_pipeline",
        version=VERSION,
        instructions=_INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


async def serve(settings: Settings, token: str) -> None:
    """Serve over standard input and output, until the input ends."""
    app = create_app(settings)
    server = server_of(app, token)
    async with app.router.lifespan_context(app), stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


def _paths(app: FastAPI) -> Iterator[_Path]:
    """Every path of the OpenAPI document that answers with figures."""
    for template, operations in app.openapi()["paths"].items():
        if template.startswith(f"/v{VERSION}/"):
            yield _path(template, operations["get"])


def _path(template: str, operation: Mapping[str, Any]) -> _Path:
    parameters = operation.get("parameters", [])
    schema = {
        "type": "object",
        "properties": {one["name"]: one["schema"] for one in parameters},
        "required": [one["name"] for one in parameters if one["required"]],
        "additionalProperties": False,
    }
    tool = Tool(
        name=_name(template),
        title=operation["summary"],
        description=operation["description"],
        input_schema=schema,
        annotations=_READS_ONLY,
    )
    return _Path(template, frozenset(one["name"] for one in parameters if one["in"] == "path"), tool)


def _name(template: str) -> str:
    """The tool's name: the words of the path without its version and places, e.g. `accounts_reports_timeseries`."""
    words = [word for word in template.split("/")[2:] if not word.startswith("{")]
    return "_".join(words).replace("-", "_")


async def _answer(app: FastAPI, token: str, path: _Path, given: Mapping[str, Any]) -> Response:
    query = {name: value for name, value in given.items() if name not in path.places}
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
    # A defect is answered as a problem; the exception behind it is for the log alone.
    transport = ASGITransport(app, raise_app_exceptions=False)
    async with AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
        answer: Response = await client.get(path.address(given), params=query)
    return answer


def _result(answer: Response) -> CallToolResult:
    if answer.is_error:
        return _problem(answer.json())
    return CallToolResult(content=[TextContent(text=answer.text)], structured_content=answer.json())


def _problem(details: Mapping[str, Any]) -> CallToolResult:
    text = f"{details['title']}. {details['detail']} {details['repair']}"
    return CallToolResult(content=[TextContent(text=text)], structured_content=details, is_error=True)
