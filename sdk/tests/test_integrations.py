"""Events that are tracked by themselves: requests and log records."""

import asyncio
import logging
from typing import Any
from uuid import UUID

import pytest

from analytics_pipeline_sdk import MemoryClient
from analytics_pipeline_sdk.events import ApiRequest, ApplicationError
from analytics_pipeline_sdk.integrations import asgi, wsgi
from analytics_pipeline_sdk.integrations.endpoints import templated
from analytics_pipeline_sdk.integrations.logs import AnalyticsHandler

USER = UUID(int=7)


def _summary(client: MemoryClient) -> list[tuple[str, str, str, int]]:
    assert all(one.duration_ms >= 0 for one in client.of(ApiRequest))
    return [(one.service, one.method, one.endpoint, one.status_code) for one in client.of(ApiRequest)]


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/", "/"),
        ("/api/v1/users/42/orders", "/api/v1/users/{id}/orders"),
        (f"/tasks/{USER}", "/tasks/{id}"),
        ("/users/alice@example.com", "/users/{id}"),
        ("/files/a1b2c3?token=secret", "/files/{id}"),
        ("/x" * 50, "/" + "/".join("x" * 12)),
        ("/" + "y" * 60, "/{id}"),
    ],
)
def test_templated__path__keeps_words_and_no_ids(path: str, template: str) -> None:
    assert templated(path) == template


def test_templated__parameters_known__are_named() -> None:
    assert templated("/users/alice/42", [("user", "alice"), ("order", 42)]) == "/users/{user}/{order}"


def _request(path: str, **scope: Any) -> dict[str, Any]:
    return {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b"", "root_path": "", **scope}


async def _call(app: asgi.App, scope: dict[str, Any]) -> list[Any]:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


def test_asgi__starlette_routes__are_templates_and_unknown_ones_unmatched() -> None:
    applications = pytest.importorskip("starlette.applications")
    routing = pytest.importorskip("starlette.routing")
    responses = pytest.importorskip("starlette.responses")

    async def show(request: Any) -> Any:
        return responses.PlainTextResponse("here", status_code=201)

    client = MemoryClient()
    app = applications.Starlette(routes=[routing.Route("/users/{name}/tasks/{task}", show)])
    watched = asgi.AnalyticsMiddleware(app, client.track, "web", user_id=lambda scope: USER)

    for path in ("/users/alice/tasks/7", "/no/such/alice"):
        asyncio.run(_call(watched, _request(path)))

    assert _summary(client) == [("web", "GET", "/users/{name}/tasks/{task}", 201), ("web", "GET", "(unmatched)", 404)]
    assert {one.user_id for one in client.of(ApiRequest)} == {USER}


def test_asgi__application_that_raises__is_a_500_and_raises_still() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise KeyError("x")

    client = MemoryClient()

    with pytest.raises(KeyError):
        asyncio.run(_call(asgi.AnalyticsMiddleware(app, client.track, "web"), _request("/jobs/1")))

    assert _summary(client) == [("web", "GET", "/jobs/{id}", 500)]


def test_asgi__hooks_that_raise_and_other_protocols__leave_the_application_alone() -> None:
    called: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        called.append(scope["type"])

    def broken(scope: Any) -> None:
        raise RuntimeError

    client = MemoryClient()
    watched = asgi.AnalyticsMiddleware(app, client.track, "web", user_id=broken)

    for scope in (_request("/"), {"type": "lifespan"}):
        asyncio.run(_call(watched, scope))

    assert (called, client.events) == (["http", "lifespan"], [])


def test_wsgi__request__is_counted_when_its_body_is_out() -> None:
    closed: list[bool] = []

    class Body:
        def __iter__(self) -> Any:
            yield b"a"
            yield b"b"

        def close(self) -> None:
            closed.append(True)

    def app(environ: Any, start_response: Any) -> Any:
        start_response("202 Accepted", [("X", "y")])
        return Body()

    client, started = MemoryClient(), list[Any]()
    watched = wsgi.AnalyticsMiddleware(app, client.track, "web", user_id=lambda environ: USER)

    body = list(
        watched(
            {"REQUEST_METHOD": "POST", "SCRIPT_NAME": "/api", "PATH_INFO": "/users/7"},
            lambda *arguments: started.append(arguments) or (lambda data: None),  # type: ignore[func-returns-value]
        )
    )

    assert (body, started, closed) == ([b"a", b"b"], [("202 Accepted", [("X", "y")])], [True])
    assert _summary(client) == [("web", "POST", "/api/users/{id}", 202)]


def test_wsgi__flask_routes__are_templates() -> None:
    flask = pytest.importorskip("flask")
    app, client = flask.Flask("shop"), MemoryClient()
    app.add_url_rule("/users/<name>", view_func=lambda name: name, endpoint="show")
    app.wsgi_app = wsgi.AnalyticsMiddleware(app.wsgi_app, client.track, "web")

    for path in ("/users/alice", "/nowhere/alice"):
        app.test_client().get(path)

    assert _summary(client) == [("web", "GET", "/users/<name>", 200), ("web", "GET", "(unmatched)", 404)]


def test_log_handler__errors__become_events_but_never_those_of_the_client() -> None:
    client = MemoryClient()
    handler = AnalyticsHandler(client.track, "web")
    loggers = [logging.getLogger(name) for name in ("shop.cart", "analytics_pipeline_sdk", "urllib3.connectionpool")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        loggers[0].warning("not yet")
        loggers[0].error("no stock of %s", "tea")
        try:
            raise ValueError("x")
        except ValueError:
            loggers[0].exception("failed")
        for logger in loggers[1:]:
            logger.error("ours")
    finally:
        for logger in loggers:
            logger.removeHandler(handler)

    assert [(one.service, one.error_type, one.error_message) for one in client.of(ApplicationError)] == [
        ("web", "shop.cart", "no stock of tea"),
        ("web", "ValueError", "failed"),
    ]
    assert client.of(ApplicationError)[0].context["level"] == "ERROR"
