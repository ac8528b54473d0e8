"""ASGI middleware: an `ApiRequest` for each request (Starlette, FastAPI, Quart, Django and whatever speaks ASGI)."""

import contextlib
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from uuid import UUID

from analytics_pipeline_sdk.events import ApiRequest, Event
from analytics_pipeline_sdk.integrations.endpoints import UNMATCHED, templated

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Track = Callable[[Event], object]


class AnalyticsMiddleware:
    """Tracks requests with `track`, a client's method.

    `endpoint` gives the route's template for a scope, if it is known better than here: the path of the route that the
    framework leaves in the scope, else the path without what may be an id. `user_id` gives the user of a request.
    """

    def __init__(
        self,
        app: App,
        track: Track,
        service: str,
        endpoint: Callable[[Scope], str | None] | None = None,
        user_id: Callable[[Scope], UUID | None] | None = None,
    ) -> None:
        self._app = app
        self._track = track
        self._service = service
        self._endpoint = endpoint or route_of
        self._user_id = user_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def watching(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watching)
        finally:
            self._record(scope, status, time.perf_counter() - began)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        with contextlib.suppress(Exception):  # no request fails because it could not be counted
            endpoint = UNMATCHED if status == 404 else self._endpoint(scope) or UNMATCHED
            self._track(
                ApiRequest(
                    service=self._service,
                    endpoint=endpoint,
                    method=str(scope["method"]),
                    status_code=status,
                    duration_ms=round(seconds * 1000),
                    user_id=self._user_id(scope) if self._user_id else None,
                )
            )


def route_of(scope: Scope) -> str:
    """The template of the route that took the request."""
    path = getattr(scope.get("route"), "path", None)
    if isinstance(path, str):
        return str(scope.get("root_path", "")) + path
    return templated(str(scope["path"]), dict(scope.get("path_params") or {}).items())
